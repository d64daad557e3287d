"""Which classes rows fall on, and how far rows are from the middle of their own."""

from __future__ import annotations

import torch
from torch import Tensor

from kdrun.ops.checks import require_rows, require_same_batch
from kdrun.ops.indexing import indicator
from kdrun.registry import op, shape_of
from kdrun.types import Count

__all__ = ["distance_to_class_median", "label_counts", "nearest_prototype_count"]


@op
def label_counts(labels: Tensor, *, classes: Count) -> Tensor:
    """How many rows have each label: [classes] (float32), of ``labels`` [rows] (int64).

    >>> ops.label_counts(torch.tensor([2, 0, 2]), classes=4)
    tensor([1., 0., 2., 0.])
    """
    return indicator(labels, classes).float().sum(0)


@op
def nearest_prototype_count(features: Tensor, prototypes: Tensor) -> Tensor:
    """How many rows are nearest to each prototype (Euclidean): [classes] (float32); of equal distances the first one's.

    ``features`` [rows, dim], ``prototypes`` [classes, dim]. Raises ``ValueError`` for other than rows.

    >>> prototypes = torch.tensor([[0.0, 0.0], [4.0, 0.0]])
    >>> ops.nearest_prototype_count(torch.tensor([[1.0, 1.0], [9.0, 0.0], [5.0, 5.0]]), prototypes)
    tensor([1., 2.])
    """
    require_rows(features, prototypes)
    distance = torch.cdist(features, prototypes.to(features), compute_mode="donot_use_mm_for_euclid_dist")
    return label_counts(distance.argmin(1), classes=len(prototypes))


@op
def distance_to_class_median(features: Tensor, labels: Tensor) -> Tensor:
    """Euclidean distance of each row from the coordinate-wise median of its class (Moderate: Xia et al., 2023): [rows].

    ``features`` [rows, dim], ``labels`` [rows] (int64). Of an even number of rows the median is the mean of the two in the middle.
    Raises ``ValueError`` if there is not one label a row.

    >>> features = torch.tensor([[0.0], [1.0], [5.0], [6.0], [9.0]])
    >>> ops.distance_to_class_median(features, torch.tensor([0, 0, 0, 1, 1]))
    tensor([1.0000, 0.0000, 4.0000, 1.5000, 1.5000])
    """
    require_rows(features)
    require_same_batch(features, labels, "features and labels")
    order = labels.argsort(stable=True)
    found = torch.empty_like(features[:, 0])
    for rows in order.split(labels.unique(return_counts=True)[1].tolist()):
        ordered = features[rows].sort(0).values
        middle = (ordered[(len(rows) - 1) // 2] + ordered[len(rows) // 2]) / 2
        found[rows] = torch.linalg.vector_norm(features[rows] - middle, dim=1)
    return found


@shape_of("op", "distance_to_class_median")
def _distance_of_rows(features: Tensor, labels: Tensor) -> Tensor:
    require_rows(features)
    require_same_batch(features, labels, "features and labels")
    return features[:, 0]
