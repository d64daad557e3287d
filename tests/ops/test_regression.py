"""Ridge regression forwards and backwards: everything must equal the direct solution."""

from __future__ import annotations

import pytest
import torch

from kdrun.metrics.exactness import relative_parameter_gap, removal_margin
from kdrun.ops.regression import (
    empty_ridge,
    linear_map,
    recursive_ridge_downdate,
    recursive_ridge_update,
    ridge_solution,
)


@pytest.fixture
def rows() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 6, generator=generator).double()
    return x, torch.randn(40, 3, generator=generator).double()


def learned(x: torch.Tensor, y: torch.Tensor, *parts: slice) -> tuple[torch.Tensor, torch.Tensor]:
    state = empty_ridge(features=x.shape[1], ridge=0.5)
    inverse, weight = state["inverse"], state["weight"]
    for part in parts:
        inverse, weight = recursive_ridge_update(inverse, weight, x[part], y[part])
    return inverse, weight


def test_the_solution_zeroes_the_gradient(rows) -> None:
    x, y = rows
    weight = ridge_solution(x, y, ridge=0.5).requires_grad_()
    loss = (y - linear_map(x, weight)).square().sum() + 0.5 * weight.square().sum()
    (gradient,) = torch.autograd.grad(loss, [weight])
    assert gradient.abs().max() < 1e-10


def test_learning_in_any_batches_equals_the_solution(rows) -> None:
    x, y = rows
    exact = ridge_solution(x, y, ridge=0.5)
    for parts in ([slice(0, 40)], [slice(0, 7), slice(7, 40)], [slice(20, 40), slice(0, 20)]):
        inverse, weight = learned(x, y, *parts)
        assert relative_parameter_gap(weight, exact) < 1e-12
        assert torch.allclose(inverse @ (x.T @ x + 0.5 * torch.eye(6)), torch.eye(6).double(), atol=1e-10)


def test_a_later_class_widens_the_solution(rows) -> None:
    x, y = rows
    first = torch.cat([y[:20, :2], torch.zeros(20, 1)], 1)
    inverse, weight = learned(x, y[:, :2], slice(0, 20))
    _, weight = recursive_ridge_update(inverse, weight, x[20:], y[20:])
    assert relative_parameter_gap(weight, ridge_solution(x, torch.cat([first, y[20:]]), ridge=0.5)) < 1e-12


@pytest.mark.parametrize("count", [3, 6, 15])  # more rows than features go the other way
def test_forgetting_equals_never_having_learned(rows, count: int) -> None:
    x, y = rows
    inverse, weight = learned(x, y, slice(0, 40))
    inverse, weight = recursive_ridge_downdate(inverse, weight, x[:count], y[:count])
    other_inverse, other = learned(x, y, slice(count, 40))
    assert relative_parameter_gap(weight, other) < 1e-10
    assert torch.allclose(inverse, other_inverse, atol=1e-10)


def test_strangers_cannot_be_taken_out(rows) -> None:
    x, y = rows
    inverse, weight = learned(x, y, slice(0, 40))
    strange = 20 * torch.randn(4, 6, generator=torch.Generator().manual_seed(1)).double()
    assert removal_margin(inverse, strange) < 0 < removal_margin(inverse, x[:4])
    with pytest.raises(ValueError, match="never learnt"):
        recursive_ridge_downdate(inverse, weight, strange, y[:4])
    with pytest.raises(ValueError, match="never learnt"):
        recursive_ridge_downdate(inverse, weight, strange.repeat(3, 1), y[:12])
