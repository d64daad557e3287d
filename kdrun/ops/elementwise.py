"""Functions of each element of one tensor."""

from __future__ import annotations

from torch import Tensor

from kdrun.registry import op
from kdrun.types import Count

__all__ = ["affine", "at_least", "capped", "equals", "exp", "floor_divide", "power", "subtract_clamped"]


@op
def affine(value: Tensor, *, scale: float = 1.0, shift: float = 0.0) -> Tensor:
    """``scale · value + shift``."""
    return scale * value + shift


@op
def power(value: Tensor, *, exponent: float) -> Tensor:
    """Every element to this power."""
    return value**exponent


@op
def exp(value: Tensor) -> Tensor:
    """The exponential of every element."""
    return value.exp()


@op
def subtract_clamped(value: Tensor, *, by: float, lowest: float = 0.0) -> Tensor:
    """``value - by``, but not below ``lowest``."""
    return (value - by).clamp_min(lowest)


@op
def capped(value: Tensor, *, cap: float) -> Tensor:
    """``min(value, cap)``, with no gradient above the cap (Nix et al., 2023)."""
    return value.clamp(max=cap)


@op
def floor_divide(values: Tensor, *, by: Count) -> Tensor:
    """Whole numbers divided by ``by``, rounded down."""
    return values // by


@op
def equals(values: Tensor, *, value: float) -> Tensor:
    """Where the elements are this value: bool of the same shape."""
    return values == value


@op
def at_least(values: Tensor, *, value: float) -> Tensor:
    """Where the elements are this value or more: bool of the same shape."""
    return values >= value
