"""Losses that forget, low-rank factors of weights, and what language models say of sequences."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from kdrun.ops.classification import cross_entropy
from kdrun.ops.indexing import at_position
from kdrun.ops.language import answer_accuracy, sequence_log_likelihood, truth_ratio
from kdrun.ops.low_rank import weighted_low_rank_init
from kdrun.ops.shapes import merge_rows, unmerge_rows
from kdrun.ops.unlearning import inverted_hinge, negative_preference_loss


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def logits_of(*probabilities: float) -> torch.Tensor:
    return torch.tensor([probabilities], dtype=torch.float64).log()


@pytest.mark.parametrize(
    ("probabilities", "expected"),
    [((0.7, 0.2, 0.1), 1.5), ((0.2, 0.7, 0.1), 0.5), ((0.25, 0.25, 0.5), 0.75), ((0.5, 0.25, 0.25), 1.25)],
)
def test_the_inverted_hinge_is_one_plus_the_gap_to_the_runner_up(probabilities, expected) -> None:
    assert inverted_hinge(logits_of(*probabilities), torch.tensor([0])).item() == pytest.approx(expected)


def test_the_inverted_hinge_lies_between_0_and_2_and_reaches_both() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 30 * torch.randn(500, 9, generator=generator)
    labels = torch.randint(9, (500,), generator=generator)
    rows = inverted_hinge(logits, labels, reduction="none")
    assert rows.min() >= 0
    assert rows.max() <= 2
    sure = torch.tensor([[100.0, 0.0, 0.0]])
    assert inverted_hinge(sure, torch.tensor([0])).item() == pytest.approx(2.0)
    assert inverted_hinge(sure, torch.tensor([1])).item() == pytest.approx(0.0)


def test_the_inverted_hinges_gradient_moves_mass_from_target_to_runner_up() -> None:
    p = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64)
    logits = p.log().unsqueeze(0).requires_grad_()
    inverted_hinge(logits, torch.tensor([0])).backward()
    own, runner_up = p[0], p[1]
    others = p[2:] * (runner_up - own)
    expected = torch.stack([own * (1 - own + runner_up), -runner_up * (1 - runner_up + own), *others])
    assert torch.allclose(logits.grad[0], expected)
    forgotten = torch.tensor([[-40.0, 1.0, 0.0]], requires_grad=True)
    inverted_hinge(forgotten, torch.tensor([0])).backward()
    assert forgotten.grad[0, 0].abs() < 1e-12


def test_the_inverted_hinge_ignores_what_does_not_count() -> None:
    logits = torch.randn(2, 3, 5)
    labels = torch.tensor([[1, -100, 2], [-100, -100, 4]])
    counted = labels != -100
    expected = inverted_hinge(logits[counted], labels[counted])
    assert torch.allclose(inverted_hinge(logits, labels), expected)
    changed = torch.where(counted[..., None], logits, 7.0)
    assert torch.allclose(inverted_hinge(changed, labels), expected)


def test_negative_preference_is_a_bounded_ascent() -> None:
    once = torch.tensor([-1.0, -3.0], dtype=torch.float64)
    now = once.clone().requires_grad_()
    loss = negative_preference_loss(now, once, beta=0.5)
    loss.backward()
    assert loss.item() == pytest.approx(2 / 0.5 * math.log(2))
    assert torch.allclose(now.grad, torch.full_like(once, 0.5))  # that of the mean likelihood
    assert negative_preference_loss(once - 1e4, once, beta=0.5).item() == pytest.approx(0.0)
    small = 1e-6
    moved = negative_preference_loss(once + 0.3, once, beta=small) - negative_preference_loss(once, once, beta=small)
    assert moved.item() == pytest.approx(0.3, rel=1e-4)  # gradient ascent in the limit


def test_likelihoods_of_sequences_are_those_of_their_tokens() -> None:
    logits, targets = torch.randn(3, 4, 7), torch.randint(7, (3, 4))
    targets[0, :2] = targets[1, 1:] = -100
    total = sequence_log_likelihood(logits, targets, reduction="sum")
    assert torch.allclose(total.sum(), -cross_entropy(logits, targets, reduction="sum"))
    counts = torch.tensor([2.0, 1.0, 4.0])
    assert torch.allclose(sequence_log_likelihood(logits, targets), total / counts)
    assert sequence_log_likelihood(logits, torch.full((3, 4), -100)).tolist() == [0.0] * 3
    assert torch.allclose(sequence_log_likelihood(logits + 5.0, targets, reduction="sum"), total, atol=1e-5)


def test_an_answer_is_right_where_all_its_tokens_are() -> None:
    targets = torch.tensor([[-100, 1, 2], [0, 1, -100], [-100, -100, 3]])
    said = torch.tensor([[3, 1, 2], [0, 2, 2], [0, 0, 0]])
    logits = F.one_hot(said, 4).float()
    assert answer_accuracy(logits, targets).tolist() == [1.0, 0.0, 0.0]
    assert answer_accuracy(logits, targets, whole=False).tolist() == [1.0, 0.5, 0.0]


def test_positions_and_rows_of_rows() -> None:
    values = torch.arange(24).view(2, 3, 4)
    assert torch.equal(at_position(values, torch.tensor([2, 0])), torch.stack([values[0, 2], values[1, 0]]))
    assert torch.equal(unmerge_rows(merge_rows(values), values), values)
    with pytest.raises(ValueError, match="same number of rows"):
        at_position(values, torch.tensor([0]))


def test_truth_ratio_is_wrong_over_right() -> None:
    right = torch.tensor([0.5, 0.1]).log()
    wrong = torch.tensor([[0.1, 0.3], [0.1, 0.1]]).log()
    assert torch.allclose(truth_ratio(right, wrong), torch.tensor([0.4, 1.0]))


def weighted_error(weight: torch.Tensor, rows: torch.Tensor, update: torch.Tensor) -> float:
    return (rows[:, None] * (weight - update)).norm().item()


def test_weighted_factors_and_residual_make_the_weight() -> None:
    weight, importance = torch.randn(12, 8), torch.rand(12, 8)
    found = weighted_low_rank_init(weight, importance, rank=3, scaling=2.0)
    assert (found["down"].shape, found["up"].shape) == ((3, 8), (12, 3))
    assert torch.allclose(found["residual"] + 2.0 * found["up"] @ found["down"], weight, atol=1e-5)


def test_weighted_factors_are_the_best_in_the_weighted_norm() -> None:
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(12, 8, generator=generator, dtype=torch.float64)
    importance = torch.linspace(0.01, 3, 12, dtype=torch.float64)[:, None] ** 4 * torch.rand(12, 8, generator=generator)
    rows = importance.sum(1).sqrt()
    found = weighted_low_rank_init(weight, importance, rank=3, scaling=2.0, eps=1e-12)
    update = 2.0 * found["up"] @ found["down"]
    tail = torch.linalg.svdvals(rows[:, None] * weight)[3:].norm().item()
    assert weighted_error(weight, rows, update) == pytest.approx(tail)
    plain = weighted_low_rank_init(weight, torch.ones_like(weight), rank=3, eps=1e-12)
    principal = plain["up"] @ plain["down"]
    assert weighted_error(weight, torch.ones(12), principal) == pytest.approx(
        torch.linalg.svdvals(weight)[3:].norm().item()
    )
    assert weighted_error(weight, rows, principal) > 1.05 * tail


def test_weighted_factors_survive_rows_without_importance() -> None:
    weight, importance = torch.randn(6, 5, dtype=torch.float64), torch.rand(6, 5, dtype=torch.float64)
    importance[2] = 0
    found = weighted_low_rank_init(weight, importance, rank=2)
    assert torch.isfinite(found["up"]).all()
    assert torch.allclose(found["residual"][2], weight[2], atol=1e-4)  # nothing of that row is taken
    with pytest.raises(ValueError, match="no factors of rank 6"):
        weighted_low_rank_init(weight, importance, rank=6)
    with pytest.raises(ValueError, match="one matrix shape"):
        weighted_low_rank_init(weight, importance.T, rank=2)
