"""Losses that forget."""

from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import gradcheck

from kdrun.ops.unlearning import (
    bounded_exponential_error,
    inverted_hinge,
    negative_preference_loss,
    representation_alignment_loss,
)


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


def test_an_exponential_error_is_bounded_and_counts_from_one_a_row() -> None:
    target = torch.randn(5, 7, dtype=torch.float64)
    assert bounded_exponential_error(target, target) == 5.0
    far = bounded_exponential_error(target + 1e4, target)
    assert 5 * math.e - 1e-6 < far < 5 * math.e
    step = torch.zeros(5, 7, dtype=torch.float64)
    step[0, 0], step[0, 1] = 0.6, 0.8  # a squared error of 1, summed over features
    torch.testing.assert_close(
        bounded_exponential_error(target + step, target) - 4, torch.tensor(math.exp(0.5)).double()
    )
    both = torch.stack([target, target + step]).requires_grad_()
    assert gradcheck(lambda pair: bounded_exponential_error(pair[1], pair[0]), (both,))
    with pytest.raises(ValueError, match="reconstruction and target"):
        bounded_exponential_error(target, target[:1])


def test_alignment_is_the_sum_of_log_shares() -> None:
    draw = [torch.randn(*shape, dtype=torch.float64) for shape in ((4, 6), (4, 6), (3, 6), (3, 6))]
    distance = [1 - torch.cosine_similarity(draw[i], draw[i + 1]) for i in (0, 2)]
    shares = [distance[0][i].exp() / (distance[1] / 5).exp().sum() for i in range(4)]
    wanted = torch.stack(shares).log().sum()
    torch.testing.assert_close(representation_alignment_loss(*draw, temperature=5.0), wanted)
    torch.testing.assert_close(representation_alignment_loss(*(3 * d for d in draw), temperature=5.0), wanted)
    twice = [torch.cat([d, d]) for d in draw[:2]]
    torch.testing.assert_close(representation_alignment_loss(*twice, *draw[2:], temperature=5.0), 2 * wanted)
    assert gradcheck(
        lambda *given: representation_alignment_loss(*given, temperature=5.0), [d.requires_grad_() for d in draw]
    )


def test_alignment_holds_what_stays_and_pushes_what_goes() -> None:
    before = {"kept": torch.randn(4, 6, dtype=torch.float64), "gone": torch.randn(3, 6, dtype=torch.float64)}
    now = {name: (value + 0.1 * torch.randn_like(value)).requires_grad_() for name, value in before.items()}
    loss = representation_alignment_loss(now["kept"], before["kept"], now["gone"], before["gone"], temperature=2.0)
    kept, gone = torch.autograd.grad(loss, list(now.values()))

    def distances(name: str, moved: torch.Tensor) -> torch.Tensor:
        return (1 - torch.cosine_similarity(now[name] - 1e-3 * moved, before[name])).detach()

    still = torch.zeros((), dtype=torch.float64)
    assert (distances("kept", kept) < distances("kept", still)).all()
    assert (distances("gone", gone) > distances("gone", still)).all()
