"""Tensors that no gradient comes through, and a model's own: constants, stop-gradients, parameters."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from kdrun.registry import op
from kdrun.types import Count

__all__ = ["constant", "detach", "filled", "layer_weight", "parameter", "parameter_count"]


@op
def constant(*, shape: list[Count], value: float = 0.0) -> Tensor:
    """A tensor of this shape (float32, on the CPU), filled with one value.

    >>> ops.constant(shape=[2, 3], value=0.5)
    tensor([[0.5000, 0.5000, 0.5000],
            [0.5000, 0.5000, 0.5000]])
    """
    return torch.full(shape, value)


@op
def filled(like: Tensor, *, value: float) -> Tensor:
    """A tensor of the shape, dtype and device of ``like``, filled with one value; no gradient.

    >>> ops.filled(torch.zeros(2, 2), value=3.0)
    tensor([[3., 3.],
            [3., 3.]])
    """
    return torch.full_like(like, value)


@op
def detach(value: Tensor) -> Tensor:
    """The value without its gradient (stop-gradient); any shape.

    >>> ops.detach(torch.tensor([1.0], requires_grad=True)).requires_grad
    False
    """
    return value.detach()


@op
def parameter(parameters: dict[str, Tensor], *, name: str) -> Tensor:
    """One parameter of a model by its name; ``from: [model]`` hands all of them over.

    The tensor itself, with its gradient, in whatever shape it has. Raises ``KeyError`` if the model has no such
    parameter.

    >>> layer = torch.nn.Linear(2, 3)
    >>> ops.parameter(dict(layer.named_parameters()), name="weight").shape
    torch.Size([3, 2])
    """
    return parameters[name]


@op
def layer_weight(parameters: dict[str, Tensor], *, layer: str = "head") -> Tensor:
    """The rows of a linear layer as it multiplies by them: [out, in]; ``from: [model]`` hands the parameters over.

    The ``weight`` at the path ``layer``; of a weight-normalised one each ``length`` times its unit ``direction``. With its
    gradient. Raises ``KeyError`` if the model has no such layer.

    >>> layer = {"head.direction": torch.tensor([[3.0, 4.0]]), "head.length": torch.tensor([[10.0]])}
    >>> ops.layer_weight(layer)
    tensor([[6., 8.]])
    """
    if f"{layer}.direction" in parameters:
        return parameters[f"{layer}.length"] * F.normalize(parameters[f"{layer}.direction"], dim=1)
    return parameters[f"{layer}.weight"]


@op
def parameter_count(parameters: dict[str, Tensor]) -> Tensor:
    """How many numbers a model's parameters hold: a scalar (float64); ``from: [model]`` hands them over.

    >>> layer = torch.nn.Linear(2, 3)  # a matrix of 6 and a bias of 3
    >>> ops.parameter_count(dict(layer.named_parameters()))
    tensor(9., dtype=torch.float64)
    """
    return torch.tensor(float(sum(p.numel() for p in parameters.values())), dtype=torch.float64)
