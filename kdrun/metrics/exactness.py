"""How far a solution is from the one it should equal."""

from __future__ import annotations

import torch
from torch import Tensor

from kdrun.ops.checks import require_same_shape
from kdrun.registry import metric

__all__ = ["largest_difference", "relative_parameter_gap", "removal_margin"]


@metric
def largest_difference(first: Tensor, second: Tensor) -> float:
    """``max |a - b|`` over two tensors of one shape, in float64: 0 where they are the same to the last bit.

    NaN where either has one. Raises ``ValueError`` for different shapes.

    >>> metrics.largest_difference(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 1.5]))
    0.5
    """
    require_same_shape(first, second, "the two tensors")
    return (first.double() - second.double()).abs().max().item()


@metric(best="lowest")
def relative_parameter_gap(weight: Tensor, reference: Tensor) -> float:
    """``|W - W*| / |W*|`` in the Frobenius norm, float64: 0 where both agree.

    ``weight`` W and ``reference`` W* [features, outputs]; outputs that only one of them has count as zero columns.

    >>> metrics.relative_parameter_gap(torch.tensor([[2.0, 0.0]]), torch.tensor([[4.0]]))
    0.5
    """
    width = max(weight.shape[1], reference.shape[1])
    first, second = (torch.nn.functional.pad(w.double(), (0, width - w.shape[1])) for w in (weight, reference))
    return ((first - second).norm() / second.norm()).item()


@metric
def removal_margin(inverse: Tensor, features: Tensor) -> float:
    """The least eigenvalue of ``I - X R Xᵀ``: positive if and only if the rows X can be taken out of the regression.

    R is ``inverse`` [features, features], X ``features`` [rows, features].

    >>> inverse = torch.tensor([[0.2]]).double()  # of a ridge of 1 and a row of 2: 1 / (1 + 2²)
    >>> round(metrics.removal_margin(inverse, torch.tensor([[2.0]])), 4)
    0.2
    >>> round(metrics.removal_margin(inverse, torch.tensor([[3.0]])), 4)  # never learnt
    -0.8
    """
    x = features.to(inverse.dtype)
    inner = torch.eye(len(x), dtype=x.dtype) - x @ inverse @ x.T
    return torch.linalg.eigvalsh(inner).min().item()
