"""Linear least squares in closed form: ridge regression at once, and row by row forwards and backwards."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from kdrun.registry import op
from kdrun.types import Count, Positive

__all__ = ["empty_ridge", "linear_map", "recursive_ridge_downdate", "recursive_ridge_update", "ridge_solution"]


@op
def linear_map(value: Tensor, weight: Tensor) -> Tensor:
    """Rows times a matrix, ``value @ weight``, in the precision of ``weight``: [rows, out] of [rows, in] and [in, out].

    >>> ops.linear_map(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 0.0], [1.0, 1.0]]))
    tensor([[3., 2.]])
    """
    return value.to(weight.dtype) @ weight


@op
def ridge_solution(features: Tensor, targets: Tensor, *, ridge: Positive = 1.0) -> Tensor:
    """``argmin_W |Y - X W|² + ridge |W|²`` in float64: [features, outputs].

    ``(XᵀX + ridge I)⁻¹ XᵀY`` of ``features`` X [rows, features] and ``targets`` Y [rows, outputs].

    >>> ops.ridge_solution(torch.tensor([[1.0], [2.0]]), torch.tensor([[2.0], [4.0]]), ridge=1e-6)
    tensor([[2.0000]], dtype=torch.float64)
    >>> ops.ridge_solution(torch.tensor([[1.0], [2.0]]), torch.tensor([[2.0], [4.0]]), ridge=5.0)  # half way to 0
    tensor([[1.]], dtype=torch.float64)
    """
    x, y = features.double(), targets.double()
    gram = x.T @ x + ridge * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    return torch.linalg.solve(gram, x.T @ y)


@op
def empty_ridge(*, features: Count, ridge: Positive = 1.0) -> dict[str, Tensor]:
    """The state of a recursive ridge regression that has seen no row, in float64.

    ``inverse`` [features, features] is ``(XᵀX + ridge I)⁻¹``, ``weight`` [features, 0] the solution (no output yet),
    ``learned`` [0] the numbers of the rows that it holds (int64).

    >>> ops.empty_ridge(features=2, ridge=4.0)["inverse"]
    tensor([[0.2500, 0.0000],
            [0.0000, 0.2500]], dtype=torch.float64)
    """
    inverse = torch.eye(features, dtype=torch.float64) / ridge
    empty = torch.zeros(features, 0, dtype=torch.float64)
    return {"inverse": inverse, "weight": empty, "learned": torch.zeros(0, dtype=torch.int64)}


@op
def recursive_ridge_update(inverse: Tensor, weight: Tensor, features: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Add rows X, Y to a ridge regression (recursive least squares, the matrix inversion lemma).

    ``K = (I + X R Xᵀ)⁻¹; R' = R - R Xᵀ K X R; W' = W + R' Xᵀ (Y - X W)`` with ``inverse`` R [features, features],
    ``weight`` W [features, outputs before], ``features`` X [rows, features], ``targets`` Y [rows, outputs]; W gets
    columns of zeros for new outputs. Gives R' and W' [features, outputs], as if all rows had been there from the start.

    >>> state, rows, targets = ops.empty_ridge(features=1), torch.tensor([[1.0], [2.0]]), torch.tensor([[2.0], [4.0]])
    >>> first = ops.recursive_ridge_update(state["inverse"], state["weight"], rows[:1], targets[:1])
    >>> ops.recursive_ridge_update(*first, rows[1:], targets[1:])[1], ops.ridge_solution(rows, targets)
    (tensor([[1.6667]], dtype=torch.float64), tensor([[1.6667]], dtype=torch.float64))
    """
    x, y = features.to(inverse.dtype), targets.to(inverse.dtype)
    weight = F.pad(weight, (0, y.shape[1] - weight.shape[1]))
    projected = x @ inverse
    inner = torch.eye(len(x), dtype=x.dtype, device=x.device) + projected @ x.T
    moved = inverse - projected.T @ torch.linalg.solve(inner, projected)
    moved = (moved + moved.T) / 2
    return moved, weight + moved @ (x.T @ (y - x @ weight))


@op
def recursive_ridge_downdate(
    inverse: Tensor, weight: Tensor, features: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor]:
    """Take rows X, Y out of a ridge regression that has learnt them: the update with its signs reversed.

    ``K = (I - X R Xᵀ)⁻¹; R' = R + R Xᵀ K X R; W' = W - R' Xᵀ (Y - X W)``, shapes as in ``recursive_ridge_update``. More
    rows than features are taken out through ``R'⁻¹ = R⁻¹ - XᵀX``. Raises ``ValueError`` if the rows were never learnt:
    then ``I - X R Xᵀ`` is not positive definite.

    >>> state, rows, targets = ops.empty_ridge(features=1), torch.tensor([[1.0], [2.0]]), torch.tensor([[2.0], [4.0]])
    >>> learned = ops.recursive_ridge_update(state["inverse"], state["weight"], rows, targets)
    >>> inverse, weight = ops.recursive_ridge_downdate(*learned, rows[1:], targets[1:])
    >>> weight, ops.ridge_solution(rows[:1], targets[:1])  # what the first row alone would have given
    (tensor([[1.0000]], dtype=torch.float64), tensor([[1.]], dtype=torch.float64))
    """
    x, y = features.to(inverse.dtype), targets.to(inverse.dtype)
    try:
        if len(x) > len(inverse):
            precision = torch.linalg.inv(inverse) - x.T @ x
            moved = torch.cholesky_inverse(torch.linalg.cholesky(precision))
        else:
            projected = x @ inverse
            inner = torch.eye(len(x), dtype=x.dtype, device=x.device) - projected @ x.T
            moved = inverse + projected.T @ torch.cholesky_solve(projected, torch.linalg.cholesky(inner))
    except torch.linalg.LinAlgError:
        raise ValueError("these rows were never learnt, or were forgotten before: they cannot be taken out") from None
    moved = (moved + moved.T) / 2
    return moved, weight - moved @ (x.T @ (y - x @ weight))
