"""Norms, and what is divided by them: unit rows, standardised features, softmax."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from kdrun.registry import op
from kdrun.types import Positive

__all__ = ["log_softmax", "normalize", "row_norm", "softmax", "standardize"]


@op
def row_norm(value: Tensor, *, order: Positive = 2.0) -> Tensor:
    """The norm of each row, flattened: [batch] of [batch, ...]."""
    return value.flatten(1).norm(p=order, dim=1)


@op
def normalize(value: Tensor, *, dim: int = 1, order: Positive = 2.0) -> Tensor:
    """Divide by the norm of this order (2: Euclidean) along an axis; zero stays zero."""
    return F.normalize(value, p=order, dim=dim)


@op
def standardize(value: Tensor, *, eps: Positive = 1e-5) -> Tensor:
    """Subtract each feature's mean over the batch and divide by its (biased) deviation: batch norm without parameters."""
    return (value - value.mean(0)) / (value.var(0, unbiased=False) + eps).sqrt()


@op
def softmax(
    logits: Tensor, temperatures: Tensor | None = None, *, temperature: Positive = 1.0, dim: int = -1
) -> Tensor:
    """Softmax of ``logits / temperature`` along an axis.

    ``temperatures`` (the shape of ``logits`` without that axis) gives each row one of its own instead.
    """
    return (logits / (temperature if temperatures is None else temperatures.unsqueeze(dim))).softmax(dim)


@op
def log_softmax(logits: Tensor, *, temperature: Positive = 1.0, dim: int = -1) -> Tensor:
    """Logarithm of the softmax of ``logits / temperature`` along an axis."""
    return (logits / temperature).log_softmax(dim)
