"""Functions of each element of one tensor."""

from __future__ import annotations

from torch import Tensor

from kdrun.registry import op
from kdrun.types import Count

__all__ = ["affine", "at_least", "capped", "clamp", "equals", "exp", "floor_divide", "power", "subtract_clamped"]


@op
def affine(value: Tensor, *, scale: float = 1.0, shift: float = 0.0) -> Tensor:
    """Every element as ``scale · value + shift``; any shape.

    >>> ops.affine(torch.tensor([0.0, 0.5, 1.0]), scale=2.0, shift=-1.0)
    tensor([-1.,  0.,  1.])
    """
    return scale * value + shift


@op
def power(value: Tensor, *, exponent: float) -> Tensor:
    """Every element to this power; any shape. A fractional exponent of a negative element gives NaN.

    >>> ops.power(torch.tensor([1.0, 4.0, 9.0]), exponent=0.5)
    tensor([1., 2., 3.])
    """
    return value**exponent


@op
def exp(value: Tensor) -> Tensor:
    """The exponential of every element; any shape.

    >>> ops.exp(torch.tensor([0.0, 1.0]))
    tensor([1.0000, 2.7183])
    """
    return value.exp()


@op
def subtract_clamped(value: Tensor, *, by: float, lowest: float = 0.0) -> Tensor:
    """Every element as ``max(value - by, lowest)``; any shape. No gradient where the bound holds.

    >>> ops.subtract_clamped(torch.tensor([0.5, 2.0]), by=1.0)
    tensor([0., 1.])
    """
    return (value - by).clamp_min(lowest)


@op
def clamp(value: Tensor, *, lowest: float = 0.0, highest: float = 1.0) -> Tensor:
    """Every element as ``min(max(value, lowest), highest)``; any shape. No gradient beyond the bounds.

    >>> ops.clamp(torch.tensor([-0.5, 0.5, 2.0]))
    tensor([0.0000, 0.5000, 1.0000])
    """
    return value.clamp(lowest, highest)


@op
def capped(value: Tensor, *, cap: float) -> Tensor:
    """Every element as ``min(value, cap)``, with no gradient above the cap (Nix et al., 2023); any shape.

    >>> ops.capped(torch.tensor([0.5, 2.0, 7.0]), cap=2.0)
    tensor([0.5000, 2.0000, 2.0000])
    """
    return value.clamp(max=cap)


@op
def floor_divide(values: Tensor, *, by: Count) -> Tensor:
    """Every element divided by ``by`` and rounded down, in its own dtype; any shape.

    Row numbers of images that come in groups of ``by`` become the numbers of the groups.

    >>> ops.floor_divide(torch.tensor([0, 1, 2, 3, 4]), by=2)
    tensor([0, 0, 1, 1, 2])
    """
    return values // by


@op
def equals(values: Tensor, *, value: float) -> Tensor:
    """Where elements are this value: bool of the same shape.

    >>> ops.equals(torch.tensor([0, 1, 2, 1]), value=1)
    tensor([False,  True, False,  True])
    """
    return values == value


@op
def at_least(values: Tensor, *, value: float) -> Tensor:
    """Where elements are this value or more: bool of the same shape.

    >>> ops.at_least(torch.tensor([0.2, 0.5, 0.9]), value=0.5)
    tensor([False,  True,  True])
    """
    return values >= value
