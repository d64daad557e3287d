"""Metrics of forgetting and of what stays useful."""

from __future__ import annotations

import math

import pytest
import torch

from kdrun.metrics.unlearning import (
    answer_probability,
    ks_forget_quality,
    membership_attack_rate,
    membership_auroc,
    model_utility,
    valid_mass,
)
from support.tensors import generator


def test_metrics_of_forgetting() -> None:
    logits = torch.tensor([[0.5, 0.3, 0.1, 0.1], [0.1, 0.1, 0.4, 0.4]]).log()
    assert valid_mass(logits, torch.tensor([[0, 1], [0, 3]])) == pytest.approx(0.65)
    assert answer_probability(torch.tensor([0.5, 0.1]).log()) == pytest.approx(0.3)
    generator = torch.Generator().manual_seed(0)
    one, two = torch.rand(200, generator=generator), torch.rand(200, generator=generator)
    assert ks_forget_quality(one, one) == 1.0
    assert ks_forget_quality(one, two + 0.5) < 1e-6
    assert ks_forget_quality(one, two) == pytest.approx(ks_forget_quality(1 / one, 1 / two))


def test_utility_is_a_harmonic_mean_over_data_sets_and_measures() -> None:
    part = torch.tensor([0, 0, 0, 1])
    full = torch.ones(4)
    assert model_utility(full, full, torch.zeros(4), part) == pytest.approx(1.0)
    assert model_utility(full, full, torch.tensor([0.0, 0.0, 0.0, 2.0]), part) == 0.0
    probability = torch.tensor([0.2, 0.5, 0.8, 0.5])  # means of 0.5, whatever the data sets' sizes
    assert model_utility(probability, full, torch.zeros(4), part) == pytest.approx(6 / (2 / 0.5 + 4))


def drawn(rows: int, sharpness: float, seed: int) -> torch.Tensor:
    return (sharpness * torch.randn(rows, 5, generator=generator(seed))).softmax(1)


def test_an_attacker_tells_rows_that_are_still_known_from_rows_that_were_never_seen() -> None:
    members, strangers = drawn(300, 9.0, 0), drawn(400, 1.0, 1)
    known, gone = drawn(100, 9.0, 2), drawn(100, 1.0, 3)
    assert membership_attack_rate(members, strangers, known) > 0.9
    assert membership_attack_rate(members, strangers, gone) == pytest.approx(0.5, abs=0.1)
    assert membership_attack_rate(drawn(300, 1.0, 4), strangers, gone) == pytest.approx(0.5, abs=0.15)
    with pytest.raises(ValueError, match="two strangers"):
        membership_attack_rate(members, strangers[:1], known)


def test_an_attacker_sees_how_sure_a_model_is_and_not_of_what() -> None:
    members, strangers, gone = drawn(60, 4.0, 0), drawn(80, 1.0, 1), drawn(30, 2.0, 2)
    turned = (rows[:, torch.tensor([3, 0, 4, 1, 2])] for rows in (members, strangers, gone))
    assert membership_attack_rate(members, strangers, gone) == membership_attack_rate(*turned)


def test_membership_by_likelihood_counts_pairs_and_is_turned_by_the_sign() -> None:
    members, strangers = (torch.randn(n, generator=generator(n)) for n in (200, 300))
    members = members + 0.5
    found = membership_auroc(members, strangers)
    assert 0.5 < found < 1
    assert membership_auroc(strangers, members) == pytest.approx(1 - found)
    assert membership_auroc(members.exp(), strangers.exp()) == pytest.approx(found)
    assert membership_auroc(members, members) == pytest.approx(0.5)
    assert membership_auroc(strangers + 99, strangers) == 1.0
    assert math.isnan(membership_auroc(members[:0], strangers))
