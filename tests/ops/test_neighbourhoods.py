"""Losses on neighbours, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.special import rel_entr, softmax

from kdrun import ops
from support.tensors import rows


def test_cosines_and_neighbours() -> None:
    points = torch.tensor([[1.0, 0.0], [2.0, 0.2], [0.0, 3.0], [0.5, 4.0]])
    matrix = ops.cosine_similarity_matrix(points, points)
    expected = 1 - cdist(points.numpy(), points.numpy(), "cosine")
    np.testing.assert_allclose(matrix, expected, atol=1e-6)
    assert ops.knn_indices(matrix, k=1).flatten().tolist() == [1, 0, 3, 2]
    assert ops.knn_indices(matrix, k=2, exclude_self=False)[:, 0].tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(ops.cosine_similarity(points, points[[1, 0, 3, 2]]), matrix[range(4), [1, 0, 3, 2]])
    with pytest.raises(ValueError, match="3 neighbours"):
        ops.knn_indices(matrix, k=4)


def test_neighbourhood_divergence_in_loops() -> None:
    student, teacher = rows(5, 5), rows(5, 5, seed=1)
    neighbours = ops.knn_indices(teacher, k=3)
    expected = []
    for i in range(5):
        q, p = (softmax(x[i, neighbours[i]].numpy() / 0.5) for x in (student, teacher))
        expected.append(rel_entr(p, q).sum())
    value = ops.neighbourhood_kl(student, teacher, neighbours, temperature=0.5).item()
    assert value == pytest.approx(np.mean(expected))


def test_inner_relations_leave_the_diagonal_out() -> None:
    student, teacher = rows(2, 3, 4), rows(2, 3, 6, seed=1)
    expected = []
    for s, t in zip(student.numpy(), teacher.numpy(), strict=True):
        for i in range(3):
            others = [j for j in range(3) if j != i]
            q, p = (softmax((1 - cdist(x[i : i + 1], x[others], "cosine")[0]) / 0.2) for x in (s, t))
            expected.append(rel_entr(p, q).sum())
    assert ops.inner_relation_kl(student, teacher, temperature=0.2).item() == pytest.approx(np.mean(expected))
    with pytest.raises(ValueError, match="two or more tokens"):
        ops.inner_relation_kl(student[:, :1], teacher[:, :1])


def test_neighbours_vote_and_a_tie_goes_to_the_smallest_label() -> None:
    from sklearn.neighbors import KNeighborsClassifier

    train, test = rows(40, 3), rows(15, 3, seed=1)
    labels = torch.arange(40) % 4
    for k in (1, 2, 5, 10):  # with 2, half of the votes are ties
        expected = KNeighborsClassifier(k).fit(train.numpy(), labels.numpy()).predict(test.numpy())
        assert ops.knn_predict(train, labels, test, k=k, num_classes=4).tolist() == expected.tolist()
    with pytest.raises(ValueError, match="there are 40 rows"):
        ops.knn_predict(train, labels, test, k=41, num_classes=4)


def test_dispersion_counts_each_pair_from_both_sides() -> None:
    p = torch.softmax(rows(5, 3), 1).requires_grad_()
    for square in (False, True):
        loss = ops.prediction_dispersion(p, square=square)
        pairs = [(p[i] @ p[j]) ** (2 if square else 1) for i in range(5) for j in range(5) if i != j]
        torch.testing.assert_close(loss, torch.stack(pairs).sum() / 5)
        (slope,) = torch.autograd.grad(loss, p)
        weight = 2 * (p @ p.T) if square else torch.ones(5, 5, dtype=torch.float64)
        torch.testing.assert_close(slope, (2 / 5) * (weight.fill_diagonal_(0) @ p))
    assert ops.prediction_dispersion(torch.eye(4)).item() == 0
