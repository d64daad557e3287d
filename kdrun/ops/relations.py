"""Losses on relations: among the samples of a batch, and between a network's own layers.

Where only relations are compared, student and teacher may differ in width. No function detaches its inputs.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from kdrun.ops.checks import require_maps, require_same_batch, require_same_shape
from kdrun.registry import op
from kdrun.types import Positive, Unsigned

__all__ = [
    "affinity_loss",
    "channel_similarity_loss",
    "correlation_congruence_loss",
    "pairwise_probability_transfer",
    "relational_angle_loss",
    "relational_distance_loss",
    "similarity_preserving_loss",
]


@op
def relational_distance_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Smooth-L1 of pairwise distances, each net's divided by its mean positive one (Park et al., 2019, eq. 6).

    ``student`` and ``teacher`` [batch, ...], widths may differ; the mean is over all batch² pairs, the zero diagonal
    included. Raises ``ValueError`` if the batches differ.

    >>> teacher = torch.tensor([[0.0], [1.0], [3.0]])
    >>> ops.relational_distance_loss(100 * teacher, teacher)  # scale makes no difference
    tensor(0.)
    >>> ops.relational_distance_loss(torch.tensor([[0.0], [2.0], [3.0]]), teacher)
    tensor(0.0556)
    """
    require_same_batch(student, teacher)
    return F.smooth_l1_loss(_relative_distances(student), _relative_distances(teacher))


def _relative_distances(feature: Tensor) -> Tensor:
    rows = feature.flatten(1)
    distances = _length(rows.unsqueeze(1) - rows.unsqueeze(0))
    positive = (distances > 0).sum().clamp_min(1)
    average = distances.sum() / positive
    return distances / average.clamp_min(torch.finfo(average.dtype).tiny)


@op
def relational_angle_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Smooth-L1 of the cosines of all angles between triples of samples (Park et al., 2019, eq. 8).

    ``student`` and ``teacher`` [batch, ...], widths may differ; the mean is over all batch³ triples, those that name a
    sample twice included. Memory grows with batch³. Raises ``ValueError`` if the batches differ.

    >>> teacher = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> ops.relational_angle_loss(5 * teacher, teacher)  # a similar triangle has the same angles
    tensor(0.)
    >>> ops.relational_angle_loss(torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]]), teacher)
    tensor(0.1296)
    """
    require_same_batch(student, teacher)
    return F.smooth_l1_loss(_angles(student), _angles(teacher))


def _angles(feature: Tensor) -> Tensor:
    """Cosines [vertex, batch, batch] at each vertex between the directions to two samples."""
    rows = feature.flatten(1)
    differences = rows.unsqueeze(0) - rows.unsqueeze(1)
    directions = differences / _length(differences).clamp_min(1e-12).unsqueeze(2)
    return directions @ directions.transpose(1, 2)


def _length(differences: Tensor) -> Tensor:
    """L2 norms over the last axis. A sample's distance to itself is 0, where ``norm`` has no second derivative."""
    squares = differences.square().sum(-1)
    apart = squares > 0
    return torch.where(apart, torch.where(apart, squares, 1.0).sqrt(), 0.0)


@op
def similarity_preserving_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    row_norm: Literal["l1", "l2"] = "l1",
    divisor: Literal["batch_squared", "batch", "one"] = "batch_squared",
) -> Tensor:
    """Squared distance of the batch's Gram matrices with normalised rows (Tung & Mori, 2019, eq. 4): a scalar.

    ``student`` and ``teacher`` [batch, ...], flattened a sample; widths may differ. ``row_norm`` is the norm that rows
    are divided by (l2 in the paper), ``divisor`` what the summed squares are divided by. Raises ``ValueError`` if the
    batches differ.

    >>> teacher = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> ops.similarity_preserving_loss(7 * teacher, teacher), ops.similarity_preserving_loss(torch.ones(2, 5), teacher)
    (tensor(0.), tensor(0.2500))
    """
    require_same_batch(student, teacher)
    difference = _row_normalized_gram(student, row_norm) - _row_normalized_gram(teacher, row_norm)
    return difference.square().sum() / {"batch_squared": len(student) ** 2, "batch": len(student), "one": 1}[divisor]


def _row_normalized_gram(feature: Tensor, row_norm: str) -> Tensor:
    rows = feature.flatten(1)
    return F.normalize(rows @ rows.T, p=1.0 if row_norm == "l1" else 2.0, dim=1)


@op
def channel_similarity_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    row_norm: Literal["l1", "l2"] = "l2",
    divisor: Literal["channels_batch_squared", "channels_batch", "one"] = "channels_batch_squared",
) -> Tensor:
    """Squared distance of each sample's channel Gram matrices with normalised rows (Liu et al., 2021, ICKD).

    Features [batch, channels, ...] with one number of channels; the trailing axes are flattened (none: one column) and
    may differ. The summed squares are divided by channels · batch², by channels · batch, or not at all. Raises
    ``ValueError`` if batches or channels differ.

    >>> teacher = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])  # two channels that never fire together
    >>> ops.channel_similarity_loss(3 * teacher, teacher), ops.channel_similarity_loss(torch.ones(1, 2, 2), teacher)
    (tensor(0.), tensor(0.5858))
    """
    require_same_batch(student, teacher)
    if student.shape[1] != teacher.shape[1]:
        raise ValueError(
            f"student and teacher need the same number of channels, got {student.shape[1]} and {teacher.shape[1]}"
        )
    difference = _channel_gram(student, row_norm) - _channel_gram(teacher, row_norm)
    batch, channels = student.shape[:2]
    return (
        difference.square().sum()
        / {
            "channels_batch_squared": channels * batch**2,
            "channels_batch": channels * batch,
            "one": 1,
        }[divisor]
    )


def _channel_gram(feature: Tensor, row_norm: str) -> Tensor:
    columns = feature.reshape(*feature.shape[:2], -1)
    return F.normalize(columns @ columns.transpose(1, 2), p=1.0 if row_norm == "l1" else 2.0, dim=2)


@op
def pairwise_probability_transfer(student: Tensor, teacher: Tensor, *, eps: Positive = 1e-7) -> Tensor:
    """Divergence of the probabilities that samples are neighbours (Passalis & Tefas, 2018, eq. 8, cosine kernel).

    ``student`` and ``teacher`` [batch, ...], widths may differ. Rows of ``(cos + 1)/2`` divided by their sums; the mean
    over all batch² entries of ``P_t log((P_t + eps)/(P_s + eps))``. Raises ``ValueError`` if the batches differ.

    >>> teacher = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    >>> bool(ops.pairwise_probability_transfer(2 * teacher, teacher).abs() < 1e-6)
    True
    >>> ops.pairwise_probability_transfer(teacher.roll(1, 0), teacher)
    tensor(0.9356)
    """
    require_same_batch(student, teacher)
    p, q = _neighbour_probabilities(teacher, eps), _neighbour_probabilities(student, eps)
    return (p * ((p + eps) / (q + eps)).log()).mean()


def _neighbour_probabilities(feature: Tensor, eps: float) -> Tensor:
    rows = feature.flatten(1)
    rows = rows / (rows.norm(dim=1, keepdim=True) + eps)
    similarity = (rows @ rows.T + 1) / 2
    return similarity / similarity.sum(1, keepdim=True).clamp_min(eps)


@op
def correlation_congruence_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    kernel: Literal["gaussian", "bilinear"] = "gaussian",
    gamma: Positive = 0.4,
    max_p: Unsigned = 2,
) -> Tensor:
    """Frobenius distance of kernel matrices divided by batch², not squared (Peng et al., 2019, eqs. 4 and 7).

    ``student`` and ``teacher`` [batch, ...] as embedded, widths may differ; nothing is normalised here. ``gaussian`` is
    the Taylor series ``e^{-2γ} Σ_{p=0}^{max_p} (2γ)^p/p! · <x_i, x_j>^p``, ``bilinear`` the inner product. Raises
    ``ValueError`` if the batches differ.

    >>> teacher = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> ops.correlation_congruence_loss(teacher.flip(1), teacher)  # a rotation makes no difference
    tensor(0.)
    >>> ops.correlation_congruence_loss(torch.tensor([[1.0], [1.0]]), teacher, kernel="bilinear")  # √2 / 4
    tensor(0.3536)
    """
    require_same_batch(student, teacher)
    difference = _kernel(student, kernel, gamma, max_p) - _kernel(teacher, kernel, gamma, max_p)
    return difference.norm() / len(student) ** 2


def _kernel(feature: Tensor, kernel: str, gamma: float, max_p: int) -> Tensor:
    rows = feature.flatten(1)
    gram = rows @ rows.T
    if kernel == "bilinear":
        return gram
    series = torch.ones_like(gram)
    power = torch.ones_like(gram)
    for p in range(1, max_p + 1):
        power = power * gram
        series = series + (2 * gamma) ** p / math.factorial(p) * power
    return math.exp(-2 * gamma) * series


@op
def affinity_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Distance of each channel's affinities between places (He et al., 2019): a scalar.

    Maps of one shape [batch, channels, h, w]: a channel is L2-normalised over its h·w places, the difference of the
    outer products is divided by h·w, its Frobenius norm summed over channels and averaged over the batch. Memory grows
    with (h·w)². Raises ``ValueError`` for other shapes.

    >>> teacher = torch.tensor([[[[1.0, 0.0]]]])
    >>> ops.affinity_loss(3 * teacher, teacher), ops.affinity_loss(teacher.flip(3), teacher)  # 0, and √2 / 2
    (tensor(0.), tensor(0.7071))
    """
    require_same_shape(student, teacher)
    require_maps(student)
    first, second = F.normalize(student.flatten(2), dim=2), F.normalize(teacher.flatten(2), dim=2)
    difference = first.unsqueeze(3) * first.unsqueeze(2) - second.unsqueeze(3) * second.unsqueeze(2)
    return (difference / first.shape[2]).flatten(2).norm(dim=2).sum(1).mean()
