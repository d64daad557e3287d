"""Weights on few levels: uniform grids, and rounding that makes up for its own errors."""

from __future__ import annotations

import torch
from torch import Tensor

from kdrun.ops.checks import require_rows
from kdrun.registry import op
from kdrun.types import Count, NonNegative

__all__ = ["second_order_quantize", "uniform_quantize"]

MOST_BITS = 16
"""The widest grid: single precision counts no finer levels reliably."""


@op
def uniform_quantize(weight: Tensor, *, bits: Count, symmetric: bool = False) -> dict[str, Tensor]:
    """Each row of a matrix rounded to the nearest of ``2^bits`` even levels that include zero (Jacob et al., 2018, eq. 1).

    ``weight`` [rows, columns] gives ``quantized`` of its shape and dtype, and ``scale`` s and ``zero`` z [rows, 1], with
    ``quantized = s (clamp(round(weight / s) + z, 0, 2^bits - 1) - z)``, halves to even. The levels span a row's least to its greatest
    value and zero; with ``symmetric`` as far below as above zero, where ``z = 2^(bits - 1)`` leaves one level more below than above. A
    row of zeros stays one. No gradient flows. Raises ``ValueError`` if the weight is not a matrix or ``bits`` is above 16.

    >>> ops.uniform_quantize(torch.tensor([[0.0, 0.9, 2.1, 3.0]]), bits=2)["quantized"]
    tensor([[0., 1., 2., 3.]])
    """
    _require_bits(bits)
    require_rows(weight)
    values = weight.detach().to(torch.promote_types(weight.dtype, torch.float32))
    scale, zero = _grid(values, bits, symmetric)
    return {"quantized": _rounded(values, scale, zero, bits).to(weight.dtype), "scale": scale, "zero": zero}


@op
def second_order_quantize(
    weight: Tensor,
    hessian: Tensor,
    *,
    bits: Count,
    symmetric: bool = False,
    damping: NonNegative = 0.01,
    act_order: bool = False,
    group_size: Count | None = None,
) -> Tensor:
    """A matrix on ``2^bits`` levels a row, whose later columns make up for what earlier ones lost (Frantar et al., 2023, GPTQ, alg. 1).

    ``weight`` M [rows, columns] and ``hessian`` H [columns, columns], such as ``2/N Σ x xᵀ`` of a layer's inputs, give the quantised
    matrix of the shape and dtype of ``weight``, with a small ``tr (M_q - M) H (M_q - M)ᵀ``. With C the upper Cholesky factor of H⁻¹,
    each column j in turn goes to the levels of ``uniform_quantize`` and ``M[:, j:] -= (M[:, j] - q_j) / C_jj · C[j, j:]``. H gains
    ``damping`` times its mean diagonal; inputs that are always 0 give columns of 0. ``act_order`` takes columns by falling H_jj. A row
    has one grid, that of M before its first column changes, or one for each ``group_size`` columns in the order taken, set on reaching
    them. A diagonal H gives rounding to the nearest. Raises ``ValueError`` if shapes do not fit or ``bits`` is above 16, and
    ``torch.linalg.LinAlgError`` if the damped H is not positive definite.

    >>> weight = torch.tensor([[0.0, 1.4, 1.4, 3.0]])
    >>> ops.second_order_quantize(weight, torch.eye(4), bits=2)  # the nearest
    tensor([[0., 1., 1., 3.]])
    >>> alike = torch.eye(4)
    >>> alike[1, 2] = alike[2, 1] = 0.99  # one rounds up for what the other lost
    >>> ops.second_order_quantize(weight, alike, bits=2)
    tensor([[0., 1., 2., 3.]])
    """
    _require_bits(bits)
    require_rows(weight)
    if hessian.shape != (weight.shape[1], weight.shape[1]):
        raise ValueError(f"a weight {list(weight.shape)} has no hessian {list(hessian.shape)}")
    dtype = torch.promote_types(weight.dtype, torch.float32)
    values, curvature = weight.detach().to(dtype, copy=True), hessian.detach().to(dtype, copy=True)
    dead = curvature.diagonal() == 0
    curvature.diagonal()[dead] = 1.0
    values[:, dead] = 0.0
    order = torch.arange(len(curvature), device=curvature.device)
    if act_order:
        order = curvature.diagonal().argsort(descending=True, stable=True)
    values, curvature = values[:, order], curvature[order][:, order]
    curvature.diagonal().add_(damping * curvature.diagonal().mean())
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(curvature))
    _round_columns(values, torch.linalg.cholesky(inverse, upper=True), bits, symmetric, group_size)
    return values[:, order.argsort()].to(weight.dtype)


def _round_columns(values: Tensor, factor: Tensor, bits: int, symmetric: bool, group_size: int | None) -> None:
    """Round each column in place, and pass its error on to those after it."""
    columns = values.shape[1]
    step = group_size or max(columns, 1)
    scale = zero = values
    for column in range(columns):
        if column % step == 0:
            scale, zero = _grid(values[:, column : column + step], bits, symmetric)
        rounded = _rounded(values[:, column : column + 1], scale, zero, bits)
        error = (values[:, column : column + 1] - rounded) / factor[column, column]
        values[:, column + 1 :] -= error * factor[column, column + 1 :]
        values[:, column : column + 1] = rounded


def _grid(values: Tensor, bits: int, symmetric: bool) -> tuple[Tensor, Tensor]:
    """Distance of the levels and the level of zero, [rows, 1] each."""
    low, high = values.amin(1, keepdim=True).clamp_max(0), values.amax(1, keepdim=True).clamp_min(0)
    if symmetric:
        high = torch.maximum(-low, high)
        low = -high
    empty = low == high
    low, high = low.masked_fill(empty, -1.0), high.masked_fill(empty, 1.0)
    scale = (high - low) / (2**bits - 1)
    return scale, torch.full_like(scale, 2.0 ** (bits - 1)) if symmetric else (-low / scale).round()


def _rounded(values: Tensor, scale: Tensor, zero: Tensor, bits: int) -> Tensor:
    return scale * (((values / scale).round() + zero).clamp(0, 2**bits - 1) - zero)


def _require_bits(bits: int) -> None:
    if bits > MOST_BITS:
        raise ValueError(f"bits must be at most {MOST_BITS}, got {bits}")
