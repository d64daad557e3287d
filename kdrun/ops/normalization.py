"""Norms, and what is divided by them: unit rows, standardised features, softmax."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from kdrun.registry import op
from kdrun.types import Positive

__all__ = ["log_softmax", "normalize", "row_norm", "softmax", "standardize"]


@op
def row_norm(value: Tensor, *, order: Positive = 2.0) -> Tensor:
    """The norm ``(Σ |x|^order)^(1/order)`` of each row, flattened: [batch] of [batch, ...].

    >>> ops.row_norm(torch.tensor([[3.0, 4.0], [0.0, 2.0]]))
    tensor([5., 2.])
    """
    return value.flatten(1).norm(p=order, dim=1)


@op
def normalize(value: Tensor, *, dim: int = 1, order: Positive = 2.0) -> Tensor:
    """Divide by the norm of this order (2: Euclidean) along an axis; zero stays zero. The shape stays.

    >>> ops.normalize(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]])
    """
    return F.normalize(value, p=order, dim=dim)


@op
def standardize(value: Tensor, *, eps: Positive = 1e-5) -> Tensor:
    """Batch norm without parameters: ``(x - mean) / sqrt(variance + eps)`` of each feature over the batch.

    ``value`` [batch, ...]; the variance is the biased one. The shape stays.

    >>> ops.standardize(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
    tensor([[-1.0000,  0.0000],
            [ 1.0000,  0.0000]])
    """
    return (value - value.mean(0)) / (value.var(0, unbiased=False) + eps).sqrt()


@op
def softmax(
    logits: Tensor, temperatures: Tensor | None = None, *, temperature: Positive = 1.0, dim: int = -1
) -> Tensor:
    """Softmax of ``logits / temperature`` along an axis: not negative, with sum 1; the shape stays.

    ``temperatures`` (the shape of ``logits`` without that axis, positive) gives each row one of its own instead.

    >>> logits = torch.tensor([[0.0, 2.0], [0.0, 2.0]])
    >>> ops.softmax(logits)
    tensor([[0.1192, 0.8808],
            [0.1192, 0.8808]])
    >>> ops.softmax(logits, torch.tensor([1.0, 100.0]))  # a high temperature levels the second row
    tensor([[0.1192, 0.8808],
            [0.4950, 0.5050]])
    """
    return (logits / (temperature if temperatures is None else temperatures.unsqueeze(dim))).softmax(dim)


@op
def log_softmax(logits: Tensor, *, temperature: Positive = 1.0, dim: int = -1) -> Tensor:
    """Logarithm of the softmax of ``logits / temperature`` along an axis, in nats; the shape stays.

    >>> ops.log_softmax(torch.tensor([[0.0, 0.0], [0.0, 100.0]]))
    tensor([[  -0.6931,   -0.6931],
            [-100.0000,    0.0000]])
    """
    return (logits / temperature).log_softmax(dim)
