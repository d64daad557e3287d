"""Plain tensor functions that step graphs are wired with."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from kdrun.registry import op
from kdrun.types import Count

__all__ = [
    "concatenate",
    "detach",
    "flatten",
    "gather",
    "global_average_pool",
    "mix_losses",
    "normalize",
    "one_hot",
    "scale",
    "softmax",
    "standard_normal",
    "total",
    "uniform",
]


@op
def gather(rows: Tensor, index: Tensor) -> Tensor:
    """Rows of a matrix [count, ...] at ``index`` [batch] (int64): [batch, ...]."""
    return rows[index]


@op
def detach(value: Tensor) -> Tensor:
    """The value without its gradient."""
    return value.detach()


@op
def scale(value: Tensor, *, by: float) -> Tensor:
    """``by`` times the value."""
    return by * value


@op
def total(*values: Tensor) -> Tensor:
    """Sum of tensors of one shape."""
    result = values[0]
    for value in values[1:]:
        result = result + value
    return result


@op
def concatenate(*values: Tensor, dim: int = 1) -> Tensor:
    """Tensors joined along an axis."""
    return torch.cat(values, dim=dim)


@op
def flatten(value: Tensor) -> Tensor:
    """[batch, ...] as [batch, features]."""
    return value.flatten(1)


@op
def global_average_pool(maps: Tensor) -> Tensor:
    """Mean over all axes after the second: [batch, channels, ...] to [batch, channels]."""
    return maps.flatten(2).mean(2)


@op
def normalize(value: Tensor, *, dim: int = 1) -> Tensor:
    """Divide by the L2 norm along an axis; zero stays zero."""
    return F.normalize(value, dim=dim)


@op
def softmax(logits: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Softmax of ``logits / temperature`` over the last axis."""
    return (logits / temperature).softmax(-1)


@op
def one_hot(labels: Tensor, *, classes: Count) -> Tensor:
    """Labels [batch] (int64) as indicator rows [batch, classes], float32."""
    return F.one_hot(labels, classes).float()


@op
def mix_losses(first: Tensor, second: Tensor, alpha: Tensor) -> Tensor:
    """Mean over the batch of ``alpha * first + (1 - alpha) * second``, all [batch]."""
    return (alpha * first + (1 - alpha) * second).mean()


@op
def standard_normal(like: Tensor, *, features: Count | None = None, generator: torch.Generator) -> Tensor:
    """Standard normal noise of the shape of ``like``, or [batch, features]."""
    shape = like.shape if features is None else (len(like), features)
    return torch.randn(shape, generator=generator, device=generator.device).to(like.device)


@op
def uniform(like: Tensor, *, low: float = 0.0, high: float = 1.0, generator: torch.Generator) -> Tensor:
    """One uniform number a row of ``like``: [batch]."""
    return (torch.rand(len(like), generator=generator, device=generator.device) * (high - low) + low).to(like.device)
