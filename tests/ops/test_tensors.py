"""Plain tensor functions."""

from __future__ import annotations

import pytest
import torch

from kdrun import ops
from kdrun.ops.arithmetic import mix_losses
from kdrun.ops.maps import global_average_pool
from kdrun.ops.normalization import standardize
from kdrun.ops.views import rotation_views


def test_rotation_views_come_four_a_row() -> None:
    image = torch.randn(2, 1, 3, 3)
    views = rotation_views(image)
    assert torch.equal(views[4], image[1])
    assert torch.equal(views[6].flip(1, 2), image[1])
    assert torch.equal(views[5].rot90(-1, (1, 2)), image[1])


def test_standardize_is_batch_norm_without_parameters() -> None:
    value = torch.randn(7, 3, dtype=torch.float64) * 4 + 2
    norm = torch.nn.BatchNorm1d(3, affine=False).double()
    assert torch.allclose(standardize(value), norm(value))


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


def test_losses_are_mixed_a_sample_and_other_shapes_refused() -> None:
    first, alpha = torch.tensor([1.0, 3.0]), torch.tensor([1.0, 0.25])
    assert ops.mix_losses(first, 10 * first, alpha).item() == pytest.approx((1 + 0.75 + 22.5) / 2)
    with pytest.raises(ValueError, match=r"\[2, 1\]"):
        ops.mix_losses(first, first, alpha.unsqueeze(1))


def test_above_the_cap_there_is_no_gradient() -> None:
    value = torch.tensor([1.0, 5.0], requires_grad=True)
    ops.capped(value, cap=2.0).sum().backward()
    assert value.grad.tolist() == [1.0, 0.0]


def test_labels_as_rows_and_back() -> None:
    labels = torch.tensor([[2, 0], [1, 1]])
    rows = ops.one_hot(labels, classes=3)
    assert rows.dtype == torch.float32
    assert rows[0].tolist() == [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    assert torch.equal(ops.hard_label(rows), labels)
    assert ops.gather(torch.tensor([[1.0], [2.0], [3.0]]), labels).shape == (2, 2, 1)


def test_softmax_takes_one_temperature_or_one_a_row() -> None:
    logits = torch.tensor([[2.0, 0.0], [2.0, 0.0]])
    per_row = ops.softmax(logits, torch.tensor([1.0, 4.0]))
    torch.testing.assert_close(per_row[0], ops.softmax(logits)[0])
    torch.testing.assert_close(per_row[1], ops.softmax(logits, temperature=4.0)[1])
    torch.testing.assert_close(ops.log_softmax(logits, temperature=4.0).exp(), ops.softmax(logits, temperature=4.0))


def test_normalising_keeps_zero() -> None:
    value = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    assert ops.normalize(value).tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0.0, 0.0]]
    assert ops.normalize(value, order=1.0)[0].tolist() == pytest.approx([3 / 7, 4 / 7])


def test_maps_and_tokens() -> None:
    maps = torch.arange(32.0).reshape(1, 2, 4, 4)
    assert ops.global_average_pool(maps).tolist() == [[7.5, 23.5]]
    assert ops.flatten(maps).shape == (1, 32)
    tokens = ops.tokens_from_map(maps, grid=2)
    assert tokens.shape == (1, 4, 2)
    assert tokens[0, 1].tolist() == [4.5, 20.5]
    assert ops.tokens_from_map(maps, grid=8).shape == (1, 16, 2)
    assert ops.resize_maps(maps, torch.zeros(1, 9, 2, 8)).shape == (1, 2, 2, 4)
    assert ops.concatenate(maps, maps).shape == (1, 4, 4, 4)
    assert ops.stack(maps, maps).shape == (2, 1, 2, 4, 4)
    assert not ops.detach(maps.requires_grad_()).requires_grad


def test_shares_of_rows_are_spread_over_the_other_axes() -> None:
    first, second = torch.ones(2, 3, 4), torch.zeros(2, 3, 4)
    mixed = ops.interpolate(first, second, torch.tensor([0.25, 1.0]))
    assert torch.equal(mixed[0], torch.full((3, 4), 0.25))
    assert torch.equal(mixed[1], first[1])
