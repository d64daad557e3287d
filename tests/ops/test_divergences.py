"""Divergences of predictions, against scipy and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from torch import Tensor

from kdrun import ops
from kdrun.ops.divergences import kl_divergence
from support.arrays import kullback_leibler, soft
from support.tensors import rows, student_and_teacher


def test_kl_of_two_coins_in_closed_form() -> None:
    student = torch.tensor([[0.0, 0.0]])
    teacher = torch.tensor([[math.log(3.0), 0.0]])
    expected = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert kl_divergence(student, teacher).item() == pytest.approx(expected, rel=1e-6)


def test_kl_is_zero_at_equality_and_ignores_shifts() -> None:
    pair = student_and_teacher()
    student, teacher = pair
    assert kl_divergence(teacher + 3.0, teacher, temperature=2.0).item() == pytest.approx(0.0, abs=1e-12)
    assert kl_divergence(student + 7.0, teacher).item() == pytest.approx(kl_divergence(student, teacher).item())


def test_kl_at_high_temperature_is_half_the_squared_logit_distance() -> None:
    """Hinton et al. (2015), section 2.1: for T large and centred logits, T² KL → Σ (z_s − z_t)² / 2K."""
    pair = student_and_teacher()
    student, teacher = (x - x.mean(1, keepdim=True) for x in pair)
    hot = kl_divergence(student, teacher, temperature=1e4, squared_temperature=True)
    torch.testing.assert_close(hot, (student - teacher).square().sum(1).mean() / 10, rtol=1e-3, atol=0)


def test_kl_reductions_agree() -> None:
    pair = student_and_teacher()
    student, teacher = pair
    rows = kl_divergence(student, teacher, reduction="none")
    assert rows.shape == (4,)
    torch.testing.assert_close(rows.mean(), kl_divergence(student, teacher))
    torch.testing.assert_close(rows.sum() / 20, kl_divergence(student, teacher, reduction="element_mean"))


STUDENT, TEACHER = rows(5, 4), rows(5, 4, seed=1)

LABELS = torch.tensor([0, 3, 1, 1, 2])


def test_kl_takes_two_temperatures_probabilities_and_either_direction() -> None:
    forward = kullback_leibler(soft(TEACHER, 2.0), soft(STUDENT, 3.0))
    value = ops.kl_divergence(STUDENT, TEACHER, temperature=3.0, teacher_temperature=2.0, squared_temperature=True)
    assert value.item() == pytest.approx(9 * forward.mean())
    given = ops.kl_divergence(STUDENT, torch.tensor(soft(TEACHER, 2.0)), temperature=3.0, teacher_is="probabilities")
    assert given.item() == pytest.approx(forward.mean())
    reverse = ops.kl_divergence(STUDENT, TEACHER, direction="reverse", reduction="none")
    np.testing.assert_allclose(reverse, kullback_leibler(soft(STUDENT), soft(TEACHER)))


def test_kl_of_a_one_hot_teacher_is_cross_entropy_with_finite_gradients() -> None:
    student = STUDENT.clone().requires_grad_()
    teacher = torch.eye(4, dtype=torch.float64)[LABELS].requires_grad_()
    value = ops.kl_divergence(student, teacher, teacher_is="probabilities")
    torch.testing.assert_close(value, ops.cross_entropy(student, LABELS))
    value.backward()
    assert torch.isfinite(teacher.grad).all()


def test_kl_reductions_with_weights_and_a_mask() -> None:
    per_token = torch.tensor(kullback_leibler(soft(rows(2, 3, 4, seed=3)), soft(rows(2, 3, 4, seed=2))))
    student, teacher = rows(2, 3, 4, seed=2), rows(2, 3, 4, seed=3)
    weights = torch.tensor([[1.0, 0.5, 2.0], [0.0, 1.0, 3.0]], dtype=torch.float64)
    mask = torch.tensor([[True, True, False], [True, False, False]])

    def reduced(reduction: str, **inputs: Tensor) -> float:
        return ops.kl_divergence(student, teacher, reduction=reduction, **inputs).item()

    assert reduced("batch_mean") == pytest.approx(per_token.sum().item() / 2)
    assert reduced("mean") == pytest.approx(per_token.mean().item())
    assert reduced("element_mean") == pytest.approx(per_token.sum().item() / 24)
    assert reduced("mean", mask=mask) == pytest.approx(per_token[mask].mean().item())
    assert reduced("mean", weights=weights) == pytest.approx((weights * per_token).sum().item() / 6)
    assert reduced("weighted_mean", weights=weights) == pytest.approx((weights * per_token).sum().item() / 7.5)
    both = (weights * per_token)[mask].sum() / weights[mask].sum()
    assert reduced("weighted_mean", weights=weights, mask=mask) == pytest.approx(both.item())
    assert reduced("mean", mask=torch.zeros_like(mask)) == 0.0


def test_classes_may_stand_on_another_axis() -> None:
    maps, teacher = rows(2, 4, 3, 3), rows(2, 4, 3, 3, seed=1)
    last = ops.kl_divergence(maps.movedim(1, -1), teacher.movedim(1, -1), reduction="mean")
    torch.testing.assert_close(ops.kl_divergence(maps, teacher, reduction="mean", dim=1), last)
    labels = torch.randint(0, 4, (2, 3, 3), generator=torch.Generator().manual_seed(0))
    by_hand = -torch.log_softmax(maps, 1).gather(1, labels[:, None]).mean()
    torch.testing.assert_close(ops.cross_entropy(maps, labels, dim=1), by_hand)
    torch.testing.assert_close(ops.cross_entropy(maps.movedim(1, -1), labels), by_hand)


def test_shapes_that_would_broadcast_are_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        ops.kl_divergence(STUDENT, TEACHER[:1])


def test_js_is_that_of_scipy_and_bounded() -> None:
    expected = np.mean(jensenshannon(soft(STUDENT), soft(TEACHER), axis=1) ** 2)
    assert ops.js_divergence(STUDENT, TEACHER).item() == pytest.approx(expected)
    apart = torch.tensor([[200.0, 0.0]]), torch.tensor([[0.0, 200.0]])
    assert ops.js_divergence(*apart).item() == pytest.approx(math.log(2), rel=1e-6)


def test_consistency_of_two_is_js_and_of_three_is_symmetric() -> None:
    third = rows(5, 4, seed=5)
    torch.testing.assert_close(ops.jensen_shannon_consistency(STUDENT, TEACHER), ops.js_divergence(STUDENT, TEACHER))
    first = ops.jensen_shannon_consistency(STUDENT, TEACHER, third)
    torch.testing.assert_close(first, ops.jensen_shannon_consistency(third, STUDENT, TEACHER))
    mixture = (soft(STUDENT) + soft(TEACHER) + soft(third)) / 3
    expected = np.mean([kullback_leibler(soft(z), mixture) for z in (STUDENT, TEACHER, third)])
    assert first.item() == pytest.approx(expected)


def test_pairwise_kl() -> None:
    matrix = ops.pairwise_kl(torch.tensor(soft(STUDENT)), torch.tensor(soft(TEACHER[:3])))
    assert matrix.shape == (5, 3)
    assert matrix[4, 2].item() == pytest.approx(kullback_leibler(soft(STUDENT)[4], soft(TEACHER)[2]))


def test_divergence_from_the_standard_normal_law_is_torch_distributions() -> None:
    mean, log_variance = torch.randn(5, 3), torch.randn(5, 3)
    laws = torch.distributions.Normal(mean, (0.5 * log_variance).exp()), torch.distributions.Normal(0.0, 1.0)
    expected = torch.distributions.kl_divergence(*laws).sum(1).mean()
    torch.testing.assert_close(ops.standard_normal_kl(mean, log_variance), expected)
    assert ops.standard_normal_kl(torch.zeros(2, 3), torch.zeros(2, 3)).item() == 0.0
