"""What two models get right of the same rows, against each other."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from kdrun.registry import metric
from kdrun.types import Count

__all__ = [
    "accuracy_gain",
    "flip_transfer",
    "group_weights",
    "least_complement",
    "negative_flips",
    "positive_flips",
    "retrieval",
]


def _right(logits: Tensor, label: Tensor) -> Tensor:
    return logits.argmax(-1) == label


@metric
def accuracy_gain(logits: Tensor, reference: Tensor, label: Tensor) -> float:
    """Accuracy of ``logits`` minus that of ``reference`` on the same rows; from -1 to 1.

    Both [rows, classes], ``label`` [rows] (int64).

    >>> logits, reference = torch.tensor([[2.0, 1.0], [2.0, 1.0]]), torch.tensor([[0.1, 0.9], [0.1, 0.9]])
    >>> metrics.accuracy_gain(logits, reference, torch.tensor([0, 0]))
    1.0
    """
    return (_right(logits, label).double() - _right(reference, label).double()).mean().item()


@metric
def positive_flips(logits: Tensor, reference: Tensor, label: Tensor) -> float:
    """Share of rows that ``logits`` gets right and ``reference`` wrong (Roth et al., 2024, eq. 1); from 0 to 1.

    Both [rows, classes], ``label`` [rows] (int64).

    >>> logits, reference = torch.tensor([[2.0, 1.0], [2.0, 1.0]]), torch.tensor([[0.1, 0.9], [0.1, 0.9]])
    >>> metrics.positive_flips(logits, reference, torch.tensor([0, 1]))
    0.5
    """
    return (_right(logits, label) & ~_right(reference, label)).double().mean().item()


@metric(best="lowest")
def negative_flips(logits: Tensor, reference: Tensor, label: Tensor) -> float:
    """Share of rows that ``logits`` gets wrong and ``reference`` right; from 0 to 1.

    Both [rows, classes], ``label`` [rows] (int64). The accuracy gain is the share of positive flips less this.

    >>> logits, reference = torch.tensor([[2.0, 1.0], [2.0, 1.0]]), torch.tensor([[0.1, 0.9], [0.9, 0.1]])
    >>> metrics.negative_flips(logits, reference, torch.tensor([1, 1]))
    0.5
    """
    return (~_right(logits, label) & _right(reference, label)).double().mean().item()


@metric
def flip_transfer(logits: Tensor, teacher: Tensor, before: Tensor, label: Tensor) -> float:
    """Of the rows that the teacher gets right and the student before got wrong, the share that it gets right now.

    ``logits``, ``teacher`` and ``before`` [rows, classes], ``label`` [rows] (int64). NaN if there is no such row.

    >>> teacher, before = torch.tensor([[0.0, 1.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    >>> metrics.flip_transfer(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), teacher, before, torch.tensor([1, 1]))
    0.5
    """
    complement = _right(teacher, label) & ~_right(before, label)
    return _right(logits, label)[complement].double().mean().item()


@metric
def least_complement(logits: Tensor, label: Tensor) -> float:
    """Over ordered pairs of models, the smallest share of rows that the one gets right and the other wrong; from 0 to 1.

    ``logits`` [rows, models, classes], two models or more; ``label`` [rows] (int64).

    >>> logits = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]])  # two models take turns
    >>> metrics.least_complement(logits, torch.tensor([0, 0]))
    0.5
    """
    right = logits.argmax(-1) == label[:, None]
    flips = (right[:, :, None] & ~right[:, None, :]).double().mean(0)
    flips.fill_diagonal_(float("inf"))
    return flips.min().item()


@metric
def retrieval(queries: Tensor, keys: Tensor, *, batch: Count = 64) -> float:
    """Share of rows whose own key is the nearest by cosine among ``batch`` consecutive rows; chance is 1 / batch.

    ``queries`` and ``keys`` [rows, dim]; a last batch that is not full is left out, unless it is the only one.

    >>> keys = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> metrics.retrieval(7 * keys, keys), metrics.retrieval(keys.flip(0), keys)
    (1.0, 0.0)
    """
    queries, keys = F.normalize(queries, dim=1), F.normalize(keys, dim=1)
    groups = list(zip(queries.split(batch), keys.split(batch), strict=True))
    full = [pair for pair in groups if len(pair[0]) == batch] or groups
    found = [(q @ k.T).argmax(1) == torch.arange(len(q)) for q, k in full]
    return torch.cat(found).double().mean().item()


@metric
def group_weights(weights: Tensor, *, groups: Count | None = None) -> dict[str, float]:
    """Mean weight that members of groups give to themselves, to others of their group, and to other groups.

    Groups are equal and consecutive. ``weights`` [members, members]; ``own`` is the mean of the diagonal, ``within``
    leaves it out, ``between`` is over pairs of two groups. Without ``groups`` all are of one. What has no pair is left
    out.

    >>> weights = torch.tensor([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.25, 0.25, 0.5]])
    >>> metrics.group_weights(weights)
    {'own': 0.5, 'within': 0.25}
    """
    count = len(weights)
    group = torch.arange(count) * (groups or 1) // count
    same = group[:, None] == group[None, :]
    own = torch.eye(count, dtype=torch.bool)
    found = {"own": weights[own], "within": weights[same & ~own], "between": weights[~same]}
    return {name: values.double().mean().item() for name, values in found.items() if values.numel()}
