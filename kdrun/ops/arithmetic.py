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
    """Sum of one or more tensors that broadcast to one shape, in their common dtype.

    >>> ops.add(torch.tensor([1.0, 2.0]), torch.tensor([10.0, 20.0]), torch.tensor(100.0))
    tensor([111., 122.])
    """
    result = values[0]
    for value in values[1:]:
        result = result + value
    return result


@op
def subtract(first: Tensor, second: Tensor) -> Tensor:
    """Elementwise ``first - second``, of shapes that broadcast.

    >>> ops.subtract(torch.tensor([3.0, 2.0]), torch.tensor([1.0, 2.0]))
    tensor([2., 0.])
    """
    return first - second


@op
def multiply(first: Tensor, second: Tensor) -> Tensor:
    """Elementwise product; the axes of the tensor with fewer of them are the leading ones of the other.

    So a weight a row [batch] is spread over all other axes of [batch, ...], where torch would align it with the last
    axis. Either may come first. Raises ``RuntimeError`` where the leading axes do not agree.

    >>> ops.multiply(torch.tensor([1.0, 10.0]), torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([[ 1.,  2.],
            [30., 40.]])
    """
    if first.dim() < second.dim():
        first, second = second, first
    return first * second.reshape((*second.shape, *(1,) * (first.dim() - second.dim())))


@op
def divide(first: Tensor, second: Tensor, *, eps: Positive = 1e-12) -> Tensor:
    """Elementwise quotient ``first / max(second, eps)``, of shapes that broadcast.

    For divisors that are not negative: 0 gives a large number instead of infinity.

    >>> ops.divide(torch.tensor([3.0, 0.0]), torch.tensor([2.0, 0.0]))
    tensor([1.5000, 0.0000])
    """
    return first / second.clamp_min(eps)


@op
def scale(value: Tensor, *, by: float) -> Tensor:
    """The number ``by`` times a tensor of any shape.

    >>> ops.scale(torch.tensor([1.0, -2.0]), by=0.5)
    tensor([ 0.5000, -1.0000])
    """
    return by * value


@op
def interpolate(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    """Mixture ``share · first + (1 - share) · second``, with a share a row.

    ``first`` and ``second`` [batch, ...] of one shape, ``share`` [batch], usually in [0, 1], spread over the other
    axes.

    >>> first, second = torch.tensor([[1.0, 1.0], [1.0, 1.0]]), torch.tensor([[0.0, 0.0], [3.0, 3.0]])
    >>> ops.interpolate(first, second, torch.tensor([1.0, 0.5]))
    tensor([[1., 1.],
            [2., 2.]])
    """
    return multiply(first, share) + multiply(second, 1 - share)


@op
def mix_losses(first: Tensor, second: Tensor, alpha: Tensor) -> Tensor:
    """Mean over the batch of ``alpha · first + (1 - alpha) · second``, two losses a row mixed by a share a row.

    All [batch]; the result is a scalar. Raises ``ValueError`` if the shapes differ: an ``alpha`` [batch, 1] would mix
    every pair of rows.

    >>> ops.mix_losses(torch.tensor([1.0, 2.0]), torch.tensor([5.0, 6.0]), torch.tensor([1.0, 0.0]))
    tensor(3.5000)
    """
    if not first.shape == second.shape == alpha.shape:
        shapes = ", ".join(str(list(value.shape)) for value in (first, second, alpha))
        raise ValueError(f"mix_losses needs three tensors of one shape, got {shapes}")
    return interpolate(first, second, alpha).mean()


@op
def weighted_sum(*values: Tensor, weights: list[float]) -> Tensor:
    """Sum ``Σ weights[i] · values[i]`` of tensors of one shape, one weight each.

    Raises ``ValueError`` if the numbers of weights and tensors differ.

    >>> ops.weighted_sum(torch.tensor([1.0, 2.0]), torch.tensor([10.0, 20.0]), weights=[1.0, 0.5])
    tensor([ 6., 12.])
    """
    if len(values) != len(weights):
        raise ValueError(f"weighted_sum has {len(values)} tensors and {len(weights)} weights")
    result = weights[0] * values[0]
    for weight, value in zip(weights[1:], values[1:], strict=True):
        result = result + weight * value
    return result


@op
def mean(*values: Tensor) -> Tensor:
    """Of one tensor, the mean over all its elements; of several of one shape, their elementwise mean.

    The first is a scalar, the second has the shape of each.

    >>> ops.mean(torch.tensor([[1.0, 2.0], [3.0, 6.0]]))
    tensor(3.)
    >>> ops.mean(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 6.0]))
    tensor([2., 4.])
    """
    if len(values) == 1:
        return values[0].mean()
    return torch.stack(values).mean(0)


@op
def sum_squares(value: Tensor) -> Tensor:
    """Sum of the squares of all elements, ``Σ x²``: a scalar.

    >>> ops.sum_squares(torch.tensor([[1.0, 2.0], [3.0, 0.0]]))
    tensor(14.)
    """
    return value.square().sum()
