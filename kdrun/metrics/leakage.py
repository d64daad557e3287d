"""How much reconstructed inputs give away of private ones."""

from __future__ import annotations

import torch
from torch import Tensor

from kdrun.registry import metric

__all__ = ["feature_knn_distance", "row_count"]


@metric
def feature_knn_distance(features: Tensor, labels: Tensor, reference: Tensor, reference_labels: Tensor) -> float:
    """Mean squared distance from a reconstruction to the nearest private row of its class; lower leaks more.

    ``features`` [rows, dim] with ``labels`` [rows], ``reference`` [private rows, dim] with ``reference_labels``.
    Infinite if a class has no private row.

    >>> features, reference = torch.tensor([[0.0]]), torch.tensor([[1.0], [3.0]])
    >>> metrics.feature_knn_distance(features, torch.tensor([1]), reference, torch.tensor([0, 1]))
    9.0
    """
    squares = torch.cdist(features.double(), reference.double()).square()
    other = labels[:, None] != reference_labels[None, :]
    return squares.masked_fill(other, float("inf")).amin(1).mean().item()


@metric
def row_count(values: Tensor) -> float:
    """How many rows there are, of ``values`` [rows, ...].

    >>> metrics.row_count(torch.zeros(3, 8))
    3.0
    """
    return float(len(values))
