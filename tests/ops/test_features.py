"""The maths of ops: closed forms, limits, invariances and gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from kdrun import ops
from kdrun.ops.correlations import pearson_relation_loss
from kdrun.ops.distances import feature_mse
from kdrun.ops.features import attention_transfer, norm_direction_loss
from support.tensors import rows


@pytest.mark.parametrize("mode", ["code", "paper"])
def test_attention_ignores_the_scale_and_the_number_of_channels(mode) -> None:
    torch.manual_seed(0)
    maps, other = torch.rand(2, 3, 6, 6), torch.rand(2, 7, 6, 6)
    value = attention_transfer(maps, other, mode=mode)
    torch.testing.assert_close(attention_transfer(5 * maps, other, mode=mode), value)
    torch.testing.assert_close(attention_transfer(torch.cat([maps, maps], 1), other, mode=mode), value)
    assert attention_transfer(maps, 2 * maps, mode=mode).item() == pytest.approx(0.0, abs=1e-10)


def test_attention_of_two_single_pixels_in_closed_form() -> None:
    """Unit attention at different pixels: two squared differences of 1 among four places; a distance of √2."""
    first, second = torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)
    first[0, 0, 0, 0], second[0, 0, 1, 1] = 3.0, 0.5
    assert attention_transfer(first, second).item() == pytest.approx(2 / 4)
    assert attention_transfer(first, second, mode="paper").item() == pytest.approx(math.sqrt(2))


def test_feature_mse_reductions_and_sizes() -> None:
    student, teacher = torch.zeros(2, 3, 4, 4), torch.ones(2, 3, 2, 2)
    assert feature_mse(student, teacher, match_size=True).item() == 1.0
    assert feature_mse(student, teacher, match_size=True, reduction="sum").item() == 24.0
    assert feature_mse(student, teacher, match_size=True, reduction="batch_mean").item() == 12.0


def test_norm_direction_is_zero_exactly_along_the_mean_and_long_enough() -> None:
    means = torch.tensor([[3.0, 4.0], [0.0, 2.0]])
    teacher = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    labels = torch.tensor([0, 1])
    long = torch.stack([5.0 * F.normalize(means, dim=1)[0], 1.0 * F.normalize(means, dim=1)[1]])
    assert norm_direction_loss(long, teacher, means, labels).item() == pytest.approx(0.0, abs=1e-6)
    short = torch.stack([0.5 * F.normalize(means, dim=1)[0], torch.tensor([0.0, 1.0])])
    assert norm_direction_loss(short, teacher, means, labels).item() == pytest.approx((1 - 0.5 / 2) / 2)
    across = torch.tensor([[-8.0, 6.0], [0.0, 1.0]])
    assert norm_direction_loss(across, teacher, means, labels).item() == pytest.approx(0.5, abs=1e-6)


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


def test_disagreement_weights_start_at_a_half_and_carry_no_gradient() -> None:
    logits = rows(2, 3).requires_grad_()
    same = ops.disagreement_weights(logits, logits.detach(), eps=0.0)
    assert same.tolist() == [0.5, 0.5]
    assert not same.requires_grad
    apart = ops.disagreement_weights(torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 4.0]]), eps=0.0)
    assert apart.item() == pytest.approx(1 / (1 + math.exp(-5)))


def test_attention_on_maps_of_two_sizes_and_shapes() -> None:
    student, teacher = rows(2, 3, 8, 4), rows(2, 5, 4, 2)
    pooled = student.numpy().reshape(2, 3, 4, 2, 2, 2).mean((3, 5))

    def attention(maps: np.ndarray) -> np.ndarray:
        flat = (maps**2).sum(1).reshape(2, -1)
        return flat / np.linalg.norm(flat, axis=1, keepdims=True)

    d = attention(pooled) - attention(teacher.numpy())
    assert ops.attention_transfer(student, teacher).item() == pytest.approx((d**2).mean())
    assert ops.attention_transfer(student, teacher, mode="paper").item() == pytest.approx(
        np.linalg.norm(d, axis=1).mean()
    )


def test_factors_are_compared_as_unit_vectors() -> None:
    first, second = torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)
    first[0, 0, 0], second[0, 0, 0, 0] = torch.tensor([3.0, 4.0]), 7.0
    assert ops.factor_transfer_loss(first, second).item() == pytest.approx((0.4 + 0.8) / 4)
    assert ops.factor_transfer_loss(first, second, p=2).item() == pytest.approx((0.16 + 0.64) / 4)
    torch.testing.assert_close(ops.factor_transfer_loss(9 * first, second), ops.factor_transfer_loss(first, second))


def test_boundary_is_charged_only_on_the_wrong_side_of_the_margin() -> None:
    student = torch.tensor([[-2.0, -0.5, 0.5, 2.0], [-2.0, -0.5, 0.5, 2.0]])
    teacher = torch.tensor([[-1.0, -1.0, -1.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
    inactive, active = 0 + 0.5**2 + 1.5**2 + 3**2, 3**2 + 1.5**2 + 0.5**2 + 0
    assert ops.activation_boundary_loss(student, teacher, reduction="sum").item() == pytest.approx(inactive + active)
    assert ops.activation_boundary_loss(student, teacher).item() == pytest.approx((inactive + active) / 2)
    assert ops.activation_boundary_loss(student, teacher, margin=2.0, reduction="sum").item() == pytest.approx(
        (0 + 1.5**2 + 2.5**2 + 4**2) + (4**2 + 2.5**2 + 1.5**2 + 0)
    )


def test_a_constant_shift_costs_the_same_on_every_level_of_context() -> None:
    """All levels see the squared shift, so the weighted mean is the squared shift whichever sizes are kept."""
    maps = rows(2, 3, 8, 8)
    assert ops.hierarchical_context_loss(maps + 2, maps).item() == pytest.approx(4.0)
    assert ops.hierarchical_context_loss(maps + 2, maps, output_sizes=[8, 3]).item() == pytest.approx(4.0)


def test_context_weights_halve_over_the_kept_levels() -> None:
    """A checkerboard of ±1 vanishes in every average: only the full size is left, divided by 1 + ½ + ¼ + ⅛."""
    board = (torch.arange(8)[:, None] + torch.arange(8)) % 2 * 2.0 - 1
    maps = board.expand(1, 1, 8, 8)
    assert ops.hierarchical_context_loss(maps, torch.zeros_like(maps)).item() == pytest.approx(1 / 1.875)
    small = maps[..., :2, :2]
    assert ops.hierarchical_context_loss(small, torch.zeros_like(small)).item() == pytest.approx(1 / 1.5)


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


def test_norm_and_direction_parts() -> None:
    student, teacher = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 6.0]])
    means, labels = torch.tensor([[2.0, 0.0], [5.0, 5.0]]), torch.tensor([1])
    cosine = 1 / math.sqrt(2)

    def value(mode: str, **changed: Tensor) -> float:
        return ops.norm_direction_loss(changed.get("student", student), teacher, means, labels, mode=mode).item()

    assert value("norm_and_direction") == pytest.approx(1 - 3 * cosine / 6)
    assert value("norm_and_direction", student=4 * student) == pytest.approx(1 - cosine)
    assert value("direction") == pytest.approx(1 - cosine)
    assert value("norm") == pytest.approx(-0.5)
    assert value("norm", student=4 * student) == pytest.approx(-1.0)
    assert value("instance_direction") == pytest.approx(1.0)


def test_norm_and_direction_leaves_teacher_and_means_alone() -> None:
    tensors = [rows(4, 3, seed=i).requires_grad_() for i in range(3)]
    ops.norm_direction_loss(*tensors, torch.tensor([0, 1, 2, 3])).backward()
    assert tensors[0].grad is not None
    assert tensors[1].grad is None
    assert tensors[2].grad is None


def test_cosine_distance_is_summed_over_samples_and_pixels() -> None:
    maps = rows(2, 3, 4, 5)
    assert ops.cosine_feature_loss(-maps, maps).item() == pytest.approx(2 * 2 * 20)
    assert ops.cosine_feature_loss(3 * maps, maps).item() == pytest.approx(0.0, abs=1e-9)
    assert ops.cosine_feature_loss(-maps, maps, reduction="batch_mean").item() == pytest.approx(2 * 20)
    assert ops.cosine_feature_loss(-maps, maps, reduction="mean").item() == pytest.approx(2.0)


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


def test_pearson_of_one_row_needs_no_second() -> None:
    value = pearson_relation_loss(rows(1, 4), rows(1, 4), gamma=0.0)
    assert value.item() == pytest.approx(0.0, abs=1e-9)
