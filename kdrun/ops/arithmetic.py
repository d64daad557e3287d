"""Sums, products and means of tensors, which step graphs are wired with."""

from __future__ import annotations

import torch
from torch import Tensor

from kdrun.registry import op
from kdrun.types import Positive

__all__ = [
    "add",
    "divide",
    "interpolate",
    "mean",
    "mix_losses",
    "multiply",
    "scale",
    "subtract",
    "sum_squares",
    "weighted_sum",
]


@op
def add(*values: Tensor) -> Tensor:
    """Sum of tensors that broadcast to one shape."""
    result = values[0]
    for value in values[1:]:
        result = result + value
    return result


@op
def subtract(first: Tensor, second: Tensor) -> Tensor:
    """``first - second``."""
    return first - second


@op
def multiply(first: Tensor, second: Tensor) -> Tensor:
    """Elementwise product; a weight a row [batch] is spread over the other axes of [batch, ...]."""
    if first.dim() < second.dim():
        first, second = second, first
    return first * second.reshape(*second.shape, *(1,) * (first.dim() - second.dim()))


@op
def divide(first: Tensor, second: Tensor, *, eps: Positive = 1e-12) -> Tensor:
    """Elementwise quotient; a divisor below ``eps`` counts as ``eps``."""
    return first / second.clamp_min(eps)


@op
def scale(value: Tensor, *, by: float) -> Tensor:
    """``by`` times the value."""
    return by * value


@op
def interpolate(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    """``share · first + (1 - share) · second``, a share a row [batch], spread over the other axes of [batch, ...]."""
    return multiply(first, share) + multiply(second, 1 - share)


@op
def mix_losses(first: Tensor, second: Tensor, alpha: Tensor) -> Tensor:
    """Mean over the batch of ``alpha * first + (1 - alpha) * second``, all [batch].

    Raises ``ValueError`` if the shapes differ: an ``alpha`` [batch, 1] would mix every pair of rows.
    """
    if not first.shape == second.shape == alpha.shape:
        shapes = ", ".join(str(list(value.shape)) for value in (first, second, alpha))
        raise ValueError(f"mix_losses needs three tensors of one shape, got {shapes}")
    return interpolate(first, second, alpha).mean()


@op
def weighted_sum(*values: Tensor, weights: list[float]) -> Tensor:
    """``Σ weights[i] · values[i]``; tensors of one shape, one weight each.

    Raises ``ValueError`` if the numbers of weights and tensors differ.
    """
    if len(values) != len(weights):
        raise ValueError(f"weighted_sum has {len(values)} tensors and {len(weights)} weights")
    result = weights[0] * values[0]
    for weight, value in zip(weights[1:], values[1:], strict=True):
        result = result + weight * value
    return result


@op
def mean(*values: Tensor) -> Tensor:
    """Of one tensor, the mean over all its elements; of several of one shape, their elementwise mean."""
    if len(values) == 1:
        return values[0].mean()
    return torch.stack(values).mean(0)


@op
def sum_squares(value: Tensor) -> Tensor:
    """Sum of the squares of all elements."""
    return value.square().sum()
