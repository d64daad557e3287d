"""Classification metrics over all rows of an evaluation."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from kdrun.registry import metric
from kdrun.types import Count

__all__ = ["accuracy", "nll"]

# Importing torchmetrics takes two seconds, and these two stand in every run: three lines of torch instead.


@metric
def accuracy(logits: Tensor, label: Tensor, *, top: Count = 1) -> float:
    """Share of rows [rows, classes] whose label is among the ``top`` highest logits; from 0 to 1."""
    chosen = logits.topk(top, dim=1).indices
    return (chosen == label[:, None]).any(dim=1).double().mean().item()


@metric
def nll(logits: Tensor, label: Tensor) -> float:
    """Mean negative log likelihood of the labels, in nats."""
    return F.cross_entropy(logits.double(), label).item()
