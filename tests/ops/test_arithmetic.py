"""Sums, weights and mixtures of losses."""

from __future__ import annotations

import pytest
import torch

from kdrun import ops
from kdrun.ops.arithmetic import mix_losses
from kdrun.ops.maps import global_average_pool


def test_small_helpers() -> None:
    assert global_average_pool(torch.arange(8.0).view(1, 2, 2, 2)).tolist() == [[1.5, 5.5]]
    one = torch.tensor([1.0, 3.0])
    assert mix_losses(one, 10 * one, torch.tensor([1.0, 0.0])).item() == pytest.approx((1 + 30) / 2)


def test_arithmetic() -> None:
    one, two = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 5.0])
    assert ops.add(one, two, two).tolist() == [7.0, 12.0]
    assert ops.subtract(two, one).tolist() == [2.0, 3.0]
    assert ops.scale(one, by=-2.0).tolist() == [-2.0, -4.0]
    assert ops.weighted_sum(one, two, weights=[2.0, -1.0]).tolist() == [-1.0, -1.0]
    assert ops.mean(two).item() == 4.0
    assert ops.mean(one, two).tolist() == [2.0, 3.5]
    assert ops.sum_squares(two).item() == 34.0
    with pytest.raises(ValueError, match="2 tensors and 1 weights"):
        ops.weighted_sum(one, two, weights=[1.0])


def test_one_weight_a_row_is_spread_over_the_other_axes() -> None:
    weights, value = torch.tensor([1.0, 10.0]), torch.ones(2, 3)
    assert ops.multiply(weights, value).tolist() == [[1.0] * 3, [10.0] * 3]
    torch.testing.assert_close(ops.multiply(value, weights), ops.multiply(weights, value))
    assert ops.multiply(torch.tensor(2.0), torch.tensor(3.0)).item() == 6.0


def test_losses_are_mixed_a_sample_and_other_shapes_refused() -> None:
    first, alpha = torch.tensor([1.0, 3.0]), torch.tensor([1.0, 0.25])
    assert ops.mix_losses(first, 10 * first, alpha).item() == pytest.approx((1 + 0.75 + 22.5) / 2)
    with pytest.raises(ValueError, match=r"\[2, 1\]"):
        ops.mix_losses(first, first, alpha.unsqueeze(1))


def test_shares_of_rows_are_spread_over_the_other_axes() -> None:
    first, second = torch.ones(2, 3, 4), torch.zeros(2, 3, 4)
    mixed = ops.interpolate(first, second, torch.tensor([0.25, 1.0]))
    assert torch.equal(mixed[0], torch.full((3, 4), 0.25))
    assert torch.equal(mixed[1], first[1])
