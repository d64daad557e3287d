"""Votes for classes, and distances from their medians, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kdrun import ops
from support.tensors import blobs, generator, rows


def test_every_row_has_one_vote_and_classes_that_nobody_names_none() -> None:
    labels = torch.randint(5, (40,), generator=generator())
    found = ops.label_counts(labels, classes=7)
    assert found.tolist() == np.bincount(labels.numpy(), minlength=7).tolist()
    assert found.sum() == 40


def test_votes_go_to_the_prototype_whose_blob_a_row_is_of() -> None:
    features = blobs([0.0, 0.0], [3.0, 0.0], [0.0, 5.0], rows=7)
    prototypes = torch.tensor([[0.0, 5.0], [9.0, 9.0], [0.0, 0.0], [3.0, 0.0]])
    assert ops.nearest_prototype_count(features, prototypes).tolist() == [7, 0, 7, 7]


def test_moving_all_features_and_prototypes_alike_changes_no_vote() -> None:
    features, prototypes, shift = rows(50, 4), rows(6, 4, seed=1), rows(4, seed=2)
    before = ops.nearest_prototype_count(features, prototypes)
    turn = torch.linalg.qr(rows(4, 4, seed=3))[0]
    assert torch.equal(ops.nearest_prototype_count((features + shift) @ turn, (prototypes + shift) @ turn), before)


def test_distance_is_from_the_median_of_each_class_alone() -> None:
    features, labels = rows(31, 3), torch.randint(4, (31,), generator=generator(5))
    found = ops.distance_to_class_median(features, labels)
    for label in range(4):
        own = features[labels == label].numpy()
        wanted = np.linalg.norm(own - np.median(own, axis=0), axis=1)
        np.testing.assert_allclose(found[labels == label].numpy(), wanted)


def test_a_far_row_does_not_move_the_median() -> None:
    features = torch.tensor([[0.0], [1.0], [2.0], [3.0], [4.0]])
    labels = torch.zeros(5, dtype=torch.int64)
    before = ops.distance_to_class_median(features, labels)
    features[4] = 1000.0
    after = ops.distance_to_class_median(features, labels)
    assert torch.equal(before[:4], after[:4])
    with pytest.raises(ValueError, match="same number of rows"):
        ops.distance_to_class_median(features, labels[:3])
