"""The number of clusters that data asks for."""

from __future__ import annotations

import torch

from kdrun.parts.clusters import best_ratio
from support.tensors import blobs


def test_the_silhouette_finds_the_number_of_clusters() -> None:
    centers = torch.eye(6).tolist()
    assert best_ratio(blobs(*centers, rows=15), 3, [0.25, 0.5, 1.0, 2.0, 3.0]) == 2.0
    assert best_ratio(blobs(*centers[:3], rows=30), 3, [0.5, 1.0, 2.0, 3.0]) == 1.0
