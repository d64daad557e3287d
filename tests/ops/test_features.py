"""Losses of features against hand-computed numbers: attention, factors, boundaries, levels of context, norm and direction."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck
from torch.nn import functional as F

from kdrun import ops
from kdrun.ops.divergences import kl_divergence
from kdrun.ops.features import attention_transfer, norm_direction_loss
from support.tensors import rows, student_and_teacher


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


def test_gradients() -> None:
    pair = student_and_teacher()
    student, teacher = pair
    assert gradcheck(lambda s: kl_divergence(s, teacher, temperature=3.0), (student,))
    maps = torch.rand(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    other = torch.rand(2, 5, 4, 4, dtype=torch.float64)
    assert gradcheck(lambda m: attention_transfer(m, other), (maps,))
    means, labels = torch.randn(3, 5, dtype=torch.float64), torch.tensor([0, 2, 1, 0])
    assert gradcheck(lambda s: norm_direction_loss(s, teacher, means, labels), (student,))
