"""Relation losses against plain loops, and the invariances that they promise."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from torch import Tensor

from kdrun import ops
from support.tensors import rows

STUDENT, TEACHER = rows(4, 3), rows(4, 5, seed=1)


def smooth_l1(difference: np.ndarray) -> np.ndarray:
    size = np.abs(difference)
    return np.where(size < 1, size**2 / 2, size - 0.5)


def rotation(size: int) -> Tensor:
    return torch.linalg.qr(rows(size, size, seed=9)).Q


def test_distances_relative_to_their_mean() -> None:
    def relative(x: Tensor) -> np.ndarray:
        d = cdist(x.numpy(), x.numpy())
        return d / d[d > 0].mean()

    value = ops.relational_distance_loss(STUDENT, TEACHER).item()
    assert value == pytest.approx(smooth_l1(relative(STUDENT) - relative(TEACHER)).mean())


def test_angles_of_all_triples() -> None:
    def angle(x: Tensor, i: int, j: int, k: int) -> float:
        a, b = x[i] - x[j], x[k] - x[j]
        return 0.0 if i == j or k == j else (a @ b / (a.norm() * b.norm())).item()

    triples = list(itertools.product(range(4), repeat=3))
    difference = np.array([angle(STUDENT, *t) - angle(TEACHER, *t) for t in triples])
    assert ops.relational_angle_loss(STUDENT, TEACHER).item() == pytest.approx(smooth_l1(difference).mean())


@pytest.mark.parametrize("loss", [ops.relational_distance_loss, ops.relational_angle_loss])
def test_relations_forget_rotation_shift_and_scale(loss) -> None:
    moved = 3.0 * STUDENT @ rotation(3) + 5.0
    torch.testing.assert_close(loss(moved, TEACHER), loss(STUDENT, TEACHER))
    assert loss(moved, STUDENT).item() == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    "loss",
    [
        ops.relational_distance_loss,
        ops.relational_angle_loss,
        ops.similarity_preserving_loss,
        ops.pairwise_probability_transfer,
        ops.correlation_congruence_loss,
    ],
)
def test_relations_forget_the_order_of_the_batch(loss) -> None:
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(loss(STUDENT[order], TEACHER[order]), loss(STUDENT, TEACHER))


def test_two_equal_samples_are_no_trouble() -> None:
    twice = torch.cat([STUDENT, STUDENT]).requires_grad_()
    value = ops.relational_distance_loss(twice, torch.cat([TEACHER, TEACHER])) + ops.relational_angle_loss(
        twice, twice.detach() + 0
    )
    value.backward()
    assert torch.isfinite(twice.grad).all()


@pytest.mark.parametrize(("row_norm", "order"), [("l1", 1), ("l2", 2)])
def test_similarity_rows_by_either_norm(row_norm, order) -> None:
    def normalized(x: Tensor) -> np.ndarray:
        gram = x.numpy() @ x.numpy().T
        return gram / np.linalg.norm(gram, ord=order, axis=1, keepdims=True)

    squares = ((normalized(STUDENT) - normalized(TEACHER)) ** 2).sum()
    for divisor, by in {"batch_squared": 16, "batch": 4, "one": 1}.items():
        value = ops.similarity_preserving_loss(STUDENT, TEACHER, row_norm=row_norm, divisor=divisor).item()
        assert value == pytest.approx(squares / by)


def test_similarity_takes_maps_of_any_width() -> None:
    maps = rows(3, 2, 4, 4)
    torch.testing.assert_close(
        ops.similarity_preserving_loss(maps, TEACHER[:3]), ops.similarity_preserving_loss(maps.flatten(1), TEACHER[:3])
    )


def test_channel_similarity_in_loops() -> None:
    student, teacher = rows(2, 3, 4, 5), rows(2, 3, 2, 2, seed=1)
    total = 0.0
    for s, t in zip(student.flatten(2).numpy(), teacher.flatten(2).numpy(), strict=True):
        a, b = (g / np.linalg.norm(g, axis=1, keepdims=True) for g in (s @ s.T, t @ t.T))
        total += ((a - b) ** 2).sum()
    assert ops.channel_similarity_loss(student, teacher).item() == pytest.approx(total / (3 * 4))
    assert ops.channel_similarity_loss(student, teacher, divisor="channels_batch").item() == pytest.approx(total / 6)
    with pytest.raises(ValueError, match="channels, got 3 and 2"):
        ops.channel_similarity_loss(student, teacher[:, :2])


def test_channel_similarity_of_columns_compares_signs() -> None:
    """One column a channel: a Gram row is ±the unit column, so a flipped channel changes its row and its column."""
    student, teacher = torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, -1.0]])
    assert ops.channel_similarity_loss(student, teacher, divisor="one").item() == pytest.approx(2 * (math.sqrt(2)) ** 2)


def test_neighbour_probabilities_in_loops() -> None:
    def probabilities(x: Tensor) -> np.ndarray:
        unit = x.numpy() / (np.linalg.norm(x.numpy(), axis=1, keepdims=True) + 1e-7)
        similar = (unit @ unit.T + 1) / 2
        return similar / similar.sum(1, keepdims=True)

    p, q = probabilities(TEACHER), probabilities(STUDENT)
    expected = (p * np.log((p + 1e-7) / (q + 1e-7))).mean()
    assert ops.pairwise_probability_transfer(STUDENT, TEACHER).item() == pytest.approx(expected)


def test_congruence_series_tends_to_the_gaussian_kernel_on_the_sphere() -> None:
    """On unit vectors exp(-γ|x-y|²) = e^{-2γ} e^{2γ<x,y>}; many terms of the series reach it."""
    unit, other = (x / x.norm(dim=1, keepdim=True) for x in (STUDENT, TEACHER))
    kernels = [np.exp(-0.4 * cdist(x.numpy(), x.numpy()) ** 2) for x in (unit, other)]
    expected = np.linalg.norm(kernels[0] - kernels[1]) / 16
    assert ops.correlation_congruence_loss(unit, other, max_p=20).item() == pytest.approx(expected)


def test_congruence_of_two_terms_and_bilinear() -> None:
    student, teacher = torch.tensor([[2.0]]), torch.tensor([[1.0]])
    series = [math.exp(-0.8) * (1 + 0.8 * k + 0.32 * k**2) for k in (4.0, 1.0)]
    assert ops.correlation_congruence_loss(student, teacher).item() == pytest.approx(series[0] - series[1], rel=1e-6)
    assert ops.correlation_congruence_loss(student, teacher, kernel="bilinear").item() == pytest.approx(3.0)


def test_affinity_in_loops() -> None:
    student, teacher = rows(2, 3, 2, 3), rows(2, 3, 2, 3, seed=1)
    total = 0.0
    for b, c in itertools.product(range(2), range(3)):
        s, t = student[b, c].flatten().numpy(), teacher[b, c].flatten().numpy()
        s, t = s / np.linalg.norm(s), t / np.linalg.norm(t)
        total += np.linalg.norm(np.outer(s, s) - np.outer(t, t)) / 6
    assert ops.affinity_loss(student, teacher).item() == pytest.approx(total / 2)
    torch.testing.assert_close(ops.affinity_loss(-4 * student, teacher), ops.affinity_loss(student, teacher))
