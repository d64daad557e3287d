"""Distances of features and predictions: reductions, masks, likelihoods."""

from __future__ import annotations

import math

import pytest
import torch

from kdrun import ops
from kdrun.ops.distances import feature_mse
from support.tensors import rows


def test_feature_mse_reductions_and_sizes() -> None:
    student, teacher = torch.zeros(2, 3, 4, 4), torch.ones(2, 3, 2, 2)
    assert feature_mse(student, teacher, match_size=True).item() == 1.0
    assert feature_mse(student, teacher, match_size=True, reduction="sum").item() == 24.0
    assert feature_mse(student, teacher, match_size=True, reduction="batch_mean").item() == 12.0


def test_squared_error_reductions() -> None:
    student, teacher = torch.zeros(2, 3), torch.tensor([[1.0, 2.0, 3.0], [2.0, 0.0, 0.0]])
    weights = torch.tensor([1.0, 3.0])
    expected = {"mean": 18 / 6, "sum": 18.0, "batch_mean": 9.0, "divided_mean": 18 / 12}
    for reduction, value in expected.items():
        assert ops.feature_mse(student, teacher, reduction=reduction).item() == pytest.approx(value)
    assert ops.feature_mse(student, teacher, reduction="none").tolist() == pytest.approx([14 / 3, 4 / 3])
    assert ops.feature_mse(student, teacher, weights).item() == pytest.approx((14 + 3 * 4) / 6)
    assert ops.feature_mse(student, teacher, weights, reduction="weighted_mean").item() == pytest.approx(26 / 12)
    assert ops.mean_squared_error(student, teacher).item() == 3.0
    assert ops.l1_feature_loss(student, teacher, reduction="sum").item() == 8.0


def test_a_mask_of_tokens_leaves_the_padding_out() -> None:
    student, teacher = rows(2, 3, 4), rows(2, 3, 4, seed=1)
    mask = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]], dtype=torch.float64)
    expected = (student - teacher).square()[mask.bool()].mean()
    torch.testing.assert_close(ops.feature_mse(student, teacher, mask, reduction="weighted_mean"), expected)


def test_sizes_are_matched_on_request_and_other_shapes_refused() -> None:
    student, teacher = torch.zeros(2, 3, 4, 6), torch.ones(2, 3, 2, 3)
    assert ops.feature_mse(student, teacher, match_size=True).item() == 1.0
    with pytest.raises(ValueError, match=r"one shape, got \[2, 1\] and \[2, 3\]"):
        ops.feature_mse(torch.zeros(2, 1), torch.zeros(2, 3))


def test_gaussian_likelihood_up_to_its_constant() -> None:
    mean, teacher = rows(2, 3, 4, 4), rows(2, 3, 4, 4, seed=1)
    variance = torch.tensor([0.5, 2.0, 5.0], dtype=torch.float64).reshape(1, 3, 1, 1)
    density = torch.distributions.Normal(mean, variance.sqrt()).log_prob(teacher)
    expected = -density.mean() - 0.5 * math.log(2 * math.pi)
    torch.testing.assert_close(ops.gaussian_nll(mean, variance, teacher), expected)


def test_the_best_log_variance_is_the_log_of_the_squared_error() -> None:
    student, teacher = rows(3, 2), rows(3, 2, seed=1)
    log_variance = (teacher - student).square().log().requires_grad_()
    ops.heteroscedastic_l2(student, teacher, log_variance, eps=1e-30).backward()
    torch.testing.assert_close(log_variance.grad, torch.zeros_like(log_variance))
    flat = ops.heteroscedastic_l2(student, teacher, torch.zeros(3, 2, dtype=torch.float64), eps=1e-30)
    torch.testing.assert_close(flat, (teacher - student).square().mean())


def test_log_power_is_twice_the_log_of_one_sum() -> None:
    student, teacher = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.zeros(2, 2)
    assert ops.log_power_feature_loss(student, teacher).item() == pytest.approx(2 * math.log(1 + 16))
    assert ops.log_power_feature_loss(student, teacher, exponent=2.0).item() == pytest.approx(2 * math.log(5))
    logits, other = torch.tensor([[math.log(3.0), 0.0]]), torch.zeros(1, 2)
    divergence = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    both = ops.log_power_feature_loss(student, teacher, logits, other).item()
    assert both == pytest.approx(2 * math.log(17) + divergence, rel=1e-6)


def test_log_power_stays_finite_at_equality() -> None:
    student = torch.ones(2, 3, requires_grad=True)
    value = ops.log_power_feature_loss(student, torch.ones(2, 3))
    value.backward()
    assert math.isfinite(value.item())
    assert torch.isfinite(student.grad).all()


def test_probability_mse_sums_classes_and_averages_kept_rows() -> None:
    p, q = torch.tensor([[1.0, 0.0], [0.5, 0.5]]), torch.tensor([[0.0, 1.0], [0.5, 0.0]])
    assert ops.probability_mse(p, q).item() == pytest.approx((2 + 0.25) / 2)
    assert ops.probability_mse(p, q, torch.tensor([False, True])).item() == pytest.approx(0.25)
