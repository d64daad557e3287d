"""Scores in which every class counts alike, and how classes lie to one another."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from kdrun.registry import metric

__all__ = ["class_covariance_cosine", "mean_class_accuracy"]


@metric
def mean_class_accuracy(
    logits: Tensor, label: Tensor, *, average: Literal["arithmetic", "harmonic"] = "arithmetic"
) -> float:
    """Mean of the accuracies on the rows of each class that occurs, whatever their numbers; from 0 to 1.

    ``logits`` [rows, classes], ``label`` [rows] (int64). The ``harmonic`` mean is 0 where a class is never told.

    >>> logits, label = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 0, 0, 1])
    >>> metrics.mean_class_accuracy(logits, label), metrics.mean_class_accuracy(logits, label, average="harmonic")
    (0.5, 0.0)
    """
    right = (logits.argmax(1) == label).double()
    accuracies = torch.stack([right[label == c].mean() for c in label.unique()])
    if average == "harmonic":
        return (len(accuracies) / accuracies.reciprocal().sum()).item()
    return accuracies.mean().item()


@metric(best="lowest")
def class_covariance_cosine(features: Tensor, labels: Tensor) -> float:
    """Mean cosine between the covariances of two classes' features, each as one long vector; from 0 to 1.

    ``features`` [rows, dim], ``labels`` [rows] (int64); classes with fewer than two rows are left out. 1: features of all classes
    vary in the same directions; NaN with fewer than two classes.

    >>> features, labels = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]), torch.tensor([0, 0, 1, 1])
    >>> metrics.class_covariance_cosine(features, labels)
    0.0
    """
    found = [features[labels == c].double() for c in labels.unique()]
    flat = [torch.cov(rows.T, correction=0).flatten() for rows in found if len(rows) > 1]
    if len(flat) < 2:
        return float("nan")
    unit = torch.nn.functional.normalize(torch.stack(flat), dim=1)
    alike = unit @ unit.T
    return ((alike.sum() - alike.diagonal().sum()) / (len(flat) * (len(flat) - 1))).item()
