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
    """
    squares = torch.cdist(features.double(), reference.double()).square()
    other = labels[:, None] != reference_labels[None, :]
    return squares.masked_fill(other, float("inf")).amin(1).mean().item()


@metric
def row_count(values: Tensor) -> float:
    """How many rows there are."""
    return float(len(values))
