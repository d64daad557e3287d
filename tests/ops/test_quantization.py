"""Quantised matrices, against grids by hand, limits, and the errors that they are to keep small."""

from __future__ import annotations

import pytest
import torch

from kdrun.ops.quantization import second_order_quantize, uniform_quantize
from support.tensors import generator


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=generator(), dtype=torch.float64)


def correlated(columns: int = 12, rank: int = 4) -> torch.Tensor:
    """The hessian of inputs that share few directions."""
    inputs = drawn(400, rank) @ drawn(rank, columns) + 0.1 * drawn(400, columns)
    return 2 * inputs.T @ inputs / len(inputs)


def output_error(weight: torch.Tensor, quantized: torch.Tensor, hessian: torch.Tensor) -> float:
    return float(((quantized - weight) @ hessian * (quantized - weight)).sum())


def nearest(weight: torch.Tensor, bits: int, symmetric: bool = False) -> torch.Tensor:
    return uniform_quantize(weight, bits=bits, symmetric=symmetric)["quantized"]


def test_a_grid_spans_the_row_and_zero() -> None:
    result = uniform_quantize(torch.tensor([[-1.0, 0.2, 2.0], [1.0, 2.0, 3.0], [-3.0, -2.0, -0.4]]), bits=2)
    assert result["scale"].flatten().tolist() == [1.0, 1.0, 1.0]
    assert result["zero"].flatten().tolist() == [1.0, 0.0, 3.0]
    assert result["quantized"].tolist() == [[-1.0, 0.0, 2.0], [1.0, 2.0, 3.0], [-3.0, -2.0, 0.0]]


def test_halves_go_to_the_even_level() -> None:
    assert nearest(torch.tensor([[0.0, 0.5, 1.5, 3.0]]), 2).tolist() == [[0.0, 0.0, 2.0, 3.0]]


def test_a_symmetric_grid_has_one_level_more_below_zero_than_above() -> None:
    weight = torch.linspace(-3, 3, 101)[None]
    result = uniform_quantize(weight, bits=2, symmetric=True)
    assert result["scale"].item() == pytest.approx(2.0)
    assert result["zero"].item() == 2.0
    assert result["quantized"].unique().tolist() == pytest.approx([-4.0, -2.0, 0.0, 2.0])


def test_a_row_of_zeros_stays_one() -> None:
    for symmetric in (False, True):
        for bits in (1, 3):
            result = uniform_quantize(torch.zeros(1, 5), bits=bits, symmetric=symmetric)
            assert result["quantized"].abs().max() == 0.0
            assert result["scale"].item() == pytest.approx(2 / (2**bits - 1))


@pytest.mark.parametrize("bits", [2, 4, 8, 16])
def test_rounding_moves_no_value_further_than_half_a_level(bits: int) -> None:
    weight = drawn(6, 40)
    result = uniform_quantize(weight, bits=bits)
    assert (
        (result["quantized"] - weight).abs() <= result["scale"] * (0.5 + 0.5 + 1e-9)
    ).all()  # the ends may lose half more
    inner = (weight > weight.amin(1, keepdim=True) + result["scale"]) & (
        weight < weight.amax(1, keepdim=True) - result["scale"]
    )
    assert ((result["quantized"] - weight).abs() <= result["scale"] * 0.5000001)[inner].all()
    assert all(len(row.unique()) <= 2**bits for row in result["quantized"])


def test_rounding_scales_with_the_row() -> None:
    weight, factors = drawn(3, 8), torch.tensor([[0.25], [2.0], [16.0]], dtype=torch.float64)
    assert torch.allclose(nearest(factors * weight, 3), factors * nearest(weight, 3))


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("act_order", [False, True])
def test_inputs_without_correlation_give_rounding_to_the_nearest(symmetric: bool, act_order: bool) -> None:
    weight, curvature = drawn(5, 9), drawn(9).square() + 0.1
    result = second_order_quantize(weight, curvature.diag(), bits=3, symmetric=symmetric, act_order=act_order)
    assert torch.allclose(result, nearest(weight, 3, symmetric))


@pytest.mark.parametrize("act_order", [False, True])
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_outputs_of_correlated_inputs_are_kept_better_than_by_rounding(bits: int, act_order: bool) -> None:
    weight, hessian = drawn(32, 12), correlated()
    kept = second_order_quantize(weight, hessian, bits=bits, act_order=act_order)
    assert output_error(weight, kept, hessian) < 0.7 * output_error(weight, nearest(weight, bits), hessian)


def test_one_row_of_two_columns_is_as_by_hand() -> None:
    """The best second column, given the first, is ``w_2 + (w_1 - q_1) H_12 / H_22``, then rounded on the grid of before."""
    weight = torch.tensor([[1.4, 3.0, 0.3]], dtype=torch.float64)
    hessian = torch.tensor([[2.0, 0.0, 1.5], [0.0, 1.0, 0.0], [1.5, 0.0, 1.8]], dtype=torch.float64)
    moved = 0.3 + (1.4 - 1.0) * 1.5 / 1.8
    assert moved > 0.5  # which goes up, where 0.3 alone would go down
    assert second_order_quantize(weight, hessian, bits=2, damping=0.0).tolist() == [[1.0, 3.0, 1.0]]


def test_sixteen_bits_change_next_to_nothing() -> None:
    weight = drawn(4, 12)
    assert torch.allclose(second_order_quantize(weight, correlated(), bits=16), weight, atol=1e-3)


def test_each_row_stays_on_the_grid_it_had_before() -> None:
    weight = drawn(4, 12)
    grid = uniform_quantize(weight, bits=3)
    levels = second_order_quantize(weight, correlated(), bits=3, act_order=True) / grid["scale"] + grid["zero"]
    assert torch.allclose(levels, levels.round())
    assert levels.min() >= -1e-9
    assert levels.max() <= 7 + 1e-9


def test_columns_taken_in_order_come_back_to_their_place() -> None:
    """Taking columns by falling curvature is permuting them by hand, quantising, and permuting back."""
    weight, hessian = drawn(4, 12), correlated()
    order = hessian.diagonal().argsort(descending=True)
    by_hand = torch.empty_like(weight)
    by_hand[:, order] = second_order_quantize(weight[:, order], hessian[order][:, order], bits=3)
    assert torch.allclose(second_order_quantize(weight, hessian, bits=3, act_order=True), by_hand)


def test_inputs_that_never_speak_take_no_levels() -> None:
    weight, hessian = drawn(4, 12), correlated()
    hessian[3], hessian[:, 3] = 0.0, 0.0
    weight[:, 3] = 100.0  # would stretch every grid
    result = second_order_quantize(weight, hessian, bits=3)
    assert result[:, 3].abs().max() == 0.0
    rest = [column for column in range(12) if column != 3]
    assert (result[:, rest] - weight[:, rest]).abs().max() < 3.0


def test_groups_of_columns_have_grids_of_their_own() -> None:
    weight = drawn(4, 12) * torch.tensor([1.0] * 6 + [0.01] * 6)
    grouped = second_order_quantize(weight, torch.eye(12, dtype=torch.float64), bits=3, group_size=6)
    halves = [nearest(half, 3) for half in weight.split(6, dim=1)]
    assert torch.allclose(grouped, torch.cat(halves, dim=1))
    assert torch.equal(
        second_order_quantize(weight, correlated(), bits=3, group_size=12),
        second_order_quantize(weight, correlated(), bits=3),
    )


def test_arguments_stay_as_they_are_and_types_are_kept() -> None:
    weight, hessian = drawn(4, 12).to(torch.bfloat16), correlated().float()
    before, curved = weight.clone(), hessian.clone()
    assert second_order_quantize(weight, hessian, bits=4).dtype == torch.bfloat16
    assert torch.equal(weight, before)
    assert torch.equal(hessian, curved)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="no hessian"):
        second_order_quantize(drawn(2, 3), torch.eye(2), bits=2)
    with pytest.raises(ValueError, match="at most 16"):
        uniform_quantize(drawn(2, 3), bits=17)
    with pytest.raises(ValueError, match="expected rows"):
        uniform_quantize(drawn(3), bits=2)
    with pytest.raises(torch.linalg.LinAlgError):
        second_order_quantize(drawn(2, 3), torch.ones(3, 3), bits=2, damping=0.0)
