"""Clusters: sizes, elbows, neighbours and how many there are."""

from __future__ import annotations

import pytest
import torch

from kdrun.errors import InputError
from kdrun.parts.clustering import best_ratio, elbow, kmeans
from support.knowledge_graphs import LINE, lists
from support.tensors import blobs, generator


def test_lists_hold_the_rest_of_the_cluster_near_ones_first() -> None:
    found, _ = lists(LINE, [0, 0, 0, 1, 1, 1, 2], fallback=2)
    assert found == [[1, 2], [0, 2], [1, 0], [4, 5], [3, 5], [4, 3], [5, 4]]
    near, _ = lists(LINE, [0, 0, 0, 1, 1, 1, 2], nearest=1, fallback=2)
    assert near == [[1], [0], [1], [4], [3], [4], [5, 4]]


def test_permuted_lists_keep_sizes_and_lose_members() -> None:
    values = torch.arange(60.0)[:, None]
    labels = [i // 20 if i < 40 else 2 for i in range(60)]
    plain, _ = lists(values, labels)
    dealt, _ = lists(values, labels, permute=True)
    assert sorted(map(len, plain)) == sorted(map(len, dealt))
    assert all(i not in members for i, members in enumerate(dealt))
    kept = sum(len(set(a) & set(b)) for a, b in zip(plain, dealt, strict=True)) / sum(map(len, plain))
    assert kept < 0.5


def test_the_elbow_is_where_more_clusters_stop_helping() -> None:
    assert elbow([100.0, 50.0, 20.0, 19.0, 5.0], 0.1) == 2
    assert elbow([100.0, 50.0, 25.0], 0.1) == 2
    assert elbow([0.0, 0.0], 0.1) == 0


def test_kmeans_finds_separate_clouds_and_their_number() -> None:
    centres = torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0], [9.0, 9.0]])
    truth = torch.arange(80) % 4
    cloud = centres[truth] + torch.rand(80, 2, generator=generator())
    found = kmeans(cloud, clusters=[2, 4, 5], drop=0.5, generator=generator())
    assert found["centres"].shape == (4, 2)
    assert len({(int(a), int(b)) for a, b in zip(found["labels"], truth, strict=True)}) == 4
    spread = (cloud - found["centres"][found["labels"]]).square().sum().item()
    assert found["inertia"][1].item() == pytest.approx(spread, rel=1e-4)
    with pytest.raises(InputError, match="do not fill"):
        kmeans(cloud, clusters=[200], generator=generator())


def test_the_silhouette_finds_the_number_of_clusters() -> None:
    centers = torch.eye(6).tolist()
    assert best_ratio(blobs(*centers, rows=15), 3, [0.25, 0.5, 1.0, 2.0, 3.0]) == 2.0
    assert best_ratio(blobs(*centers[:3], rows=30), 3, [0.5, 1.0, 2.0, 3.0]) == 1.0
