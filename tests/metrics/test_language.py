"""Metrics of text: exact match, perplexity, and how far secrets are exposed."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from kdrun.errors import InputError
from kdrun.metrics.language import canary_exposure, exact_match, perplexity


def test_exact_match_counts_the_stop_and_nothing_behind_it() -> None:
    generated = torch.tensor([[4, 1, 9], [4, 2, 1], [5, 1, 0], [4, 1, 0]])
    answer = torch.tensor([[4, 1], [4, 1], [4, 1], [4, -100]])
    assert exact_match(generated, answer) == 0.5
    with pytest.raises(InputError, match="only 1"):
        exact_match(generated[:, :1], answer)


def test_perplexity_of_a_uniform_model_is_the_vocabulary() -> None:
    losses = F.cross_entropy(torch.zeros(12, 7), torch.arange(12) % 7, reduction="none").view(3, 4)
    assert perplexity(losses) == pytest.approx(7.0)
    mask = torch.tensor([[1, 0, 0, 0]] * 3)
    assert perplexity(losses + 5.0 * (1 - mask), mask) == pytest.approx(7.0)
    assert perplexity(torch.zeros(2, 2)) == 1.0


def exposure(scores: list[list[float]], true: list[int]) -> dict[str, float]:
    """Of one canary a row, each candidate's loss standing at one of two tokens; the other token does not count."""
    values = torch.tensor(scores)
    canaries, candidates = values.shape
    losses = torch.stack([values.flatten(), 100 * torch.rand(values.numel())], dim=1)
    secret = torch.tensor([1, 0]).expand_as(losses)
    canary = torch.arange(canaries).repeat_interleave(candidates)
    inserted = F.one_hot(torch.tensor(true), candidates).flatten()
    return canary_exposure(losses, secret, canary, inserted)


def test_exposure_runs_from_nothing_to_all_bits() -> None:
    assert exposure([[0.0, 1.0, 2.0, 3.0]], [0]) == {"exposure": 2.0, "share": 1.0, "extracted": 1.0}
    assert exposure([[0.0, 1.0, 2.0, 3.0]], [3])["exposure"] == 0.0
    assert exposure([[0.0, 1.0, 2.0, 3.0]] * 2, [0, 1])["exposure"] == 1.5
    assert exposure([[1.0] * 7], [2])["exposure"] == pytest.approx(math.log2(7 / 4))  # equals share the mean rank


def test_exposure_of_a_random_secret_is_the_mean_of_minus_log2_of_a_uniform() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(600, 400, generator=generator)
    found = exposure(scores.tolist(), torch.randint(400, (600,), generator=generator).tolist())
    assert found["exposure"] == pytest.approx(1 / math.log(2), abs=0.2)


def test_exposure_refuses_canaries_without_one_true_candidate() -> None:
    ones = torch.ones(4, 1)
    with pytest.raises(InputError, match="canary 0 has 2 inserted"):
        canary_exposure(ones, ones, torch.zeros(4), torch.tensor([1, 1, 0, 0]))
    with pytest.raises(InputError, match="different numbers"):
        canary_exposure(ones, ones, torch.tensor([0, 0, 0, 1]), torch.tensor([1, 0, 0, 1]))
