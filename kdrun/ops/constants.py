"""Tensors that no gradient comes through, and a model's own: constants, stop-gradients, parameters."""

from __future__ import annotations

import torch
from torch import Tensor

from kdrun.registry import op
from kdrun.types import Count

__all__ = ["constant", "detach", "filled", "parameter", "parameter_count"]


@op
def constant(*, shape: list[Count], value: float = 0.0) -> Tensor:
    """A tensor of this shape, filled with one value."""
    return torch.full(shape, value)


@op
def filled(like: Tensor, *, value: float) -> Tensor:
    """A tensor of the shape of ``like``, filled with one value; no gradient."""
    return torch.full_like(like, value)


@op
def detach(value: Tensor) -> Tensor:
    """The value without its gradient (stop-gradient)."""
    return value.detach()


@op
def parameter(parameters: dict[str, Tensor], *, name: str) -> Tensor:
    """One parameter of a model by its name; ``from: [model]`` hands all of them over.

    Raises ``KeyError`` if the model has no such parameter.
    """
    return parameters[name]


@op
def parameter_count(parameters: dict[str, Tensor]) -> Tensor:
    """How many numbers a model has: a scalar (float64); ``from: [model]`` hands its parameters over."""
    return torch.tensor(float(sum(p.numel() for p in parameters.values())), dtype=torch.float64)
