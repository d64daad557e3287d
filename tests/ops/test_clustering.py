"""Pseudo-labels from clusters, and rows that no class claims."""

from __future__ import annotations

import pytest
import torch

from kdrun.ops.clustering import kmeans_centroids, one_vs_all_pseudo_label
from support.tensors import THREE, UNSURE, blobs


def test_rows_of_a_cluster_that_no_class_claims_are_unknown_and_uniform() -> None:
    found = one_vs_all_pseudo_label(5 * THREE, UNSURE, torch.tensor(1.5))
    assert found["hard"].tolist() == [0] * 30 + [1] * 30 + [2] * 30
    assert torch.equal(found["soft"], torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]).repeat_interleave(30, 0))
    torch.testing.assert_close(found["features"].norm(dim=1), torch.ones(90))
    closed = one_vs_all_pseudo_label(THREE, UNSURE, torch.tensor(1.5), reject=False)
    assert torch.equal(closed["hard"][:60], found["hard"][:60])
    assert closed["hard"].max() == 1


def test_rows_of_pseudo_labels_are_divided_by_their_sum_and_eps() -> None:
    soft = one_vs_all_pseudo_label(THREE, UNSURE, torch.tensor(1.5), eps=0.5)["soft"]
    assert soft[0].tolist() == pytest.approx([1 / 1.5, 0.0])
    assert soft[-1].tolist() == pytest.approx([1 / 2.5, 1 / 2.5])


def test_low_confidence_makes_acceptance_stricter() -> None:
    """Doubtful predictions halve the similarity with the own class, unless the prior is 1 at full weight."""
    near = blobs([1.0, 0.5], [0.5, 1.0])  # a cosine of 0.8 between the classes
    doubtful = 0.5 + 0.02 * (UNSURE[:60] - 0.5)
    lenient, strict = (
        one_vs_all_pseudo_label(near, doubtful, torch.tensor(1.0), prior_weight=w)["hard"] for w in (1.0, 0.0)
    )
    assert lenient.tolist() == [0] * 30 + [1] * 30
    assert (strict == 2).all()


def test_a_too_large_ratio_turns_members_into_negatives() -> None:
    found = one_vs_all_pseudo_label(THREE, UNSURE, torch.tensor(6.0))["hard"]
    assert (found == 2).float().mean() > 0.9


def test_centroids_are_the_means_of_apart_clusters() -> None:
    found = kmeans_centroids(THREE, 3)
    means = THREE.view(3, 30, 4).mean(1)
    order = (found @ means.T).argmax(1)
    torch.testing.assert_close(found, means[order])
    assert len(kmeans_centroids(THREE[:2], 5)) == 2
