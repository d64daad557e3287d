"""Losses that forget."""

from __future__ import annotations

import math

import pytest
import torch

from kdrun.ops.unlearning import inverted_hinge, negative_preference_loss


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
