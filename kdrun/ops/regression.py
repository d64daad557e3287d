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
    """``value @ weight`` in the precision of ``weight``: [rows, out] of [rows, in] and [in, out]."""
    return value.to(weight.dtype) @ weight


@op
def ridge_solution(features: Tensor, targets: Tensor, *, ridge: Positive = 1.0) -> Tensor:
    """``argmin_W |Y - X W|² + ridge |W|²`` in float64: [features, outputs] of X [rows, features] and Y [rows, outputs]."""
    x, y = features.double(), targets.double()
    gram = x.T @ x + ridge * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    return torch.linalg.solve(gram, x.T @ y)


@op
def empty_ridge(*, features: Count, ridge: Positive = 1.0) -> dict[str, Tensor]:
    """The state of a recursive ridge regression that has seen no row, in float64.

    ``inverse`` [features, features] is ``(XᵀX + ridge I)⁻¹``, ``weight`` [features, 0] the solution (no output yet),
    ``learned`` [0] the numbers of the rows that it holds (int64).
    """
    inverse = torch.eye(features, dtype=torch.float64) / ridge
    empty = torch.zeros(features, 0, dtype=torch.float64)
    return {"inverse": inverse, "weight": empty, "learned": torch.zeros(0, dtype=torch.int64)}


@op
def recursive_ridge_update(inverse: Tensor, weight: Tensor, features: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Add rows X, Y to a ridge regression (recursive least squares, the matrix inversion lemma).

    ``K = (I + X R Xᵀ)⁻¹; R' = R - R Xᵀ K X R; W' = W + R' Xᵀ (Y - X W)`` with R [features, features], W [features,
    outputs before], X [rows, features], Y [rows, outputs]; W gets columns of zeros for new outputs.
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

    ``K = (I - X R Xᵀ)⁻¹; R' = R + R Xᵀ K X R; W' = W - R' Xᵀ (Y - X W)``. More rows than features are taken out through
    ``R'⁻¹ = R⁻¹ - XᵀX``. Raises ``ValueError`` if the rows were never learnt: then ``I - X R Xᵀ`` is not positive definite.
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
