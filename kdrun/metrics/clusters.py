"""How well clusters are classes: under the best matching of the one to the other."""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from kdrun.registry import metric
from kdrun.types import Count

__all__ = ["discovery_accuracy", "hungarian_accuracy"]


@metric
def hungarian_accuracy(clusters: Tensor, label: Tensor, losses: Tensor | None = None) -> float:
    """Share of rows in the cluster of their class, under the best one-to-one matching (Kuhn, 1955); from 0 to 1.

    ``clusters`` [rows], or [rows, heads] of several clusterings, of which the mean counts, or with ``losses`` [heads, ...] the one
    whose are the lowest on average; ``label`` [rows]; both int64. A row of a negative cluster is in none, and wrong. NaN without rows.

    >>> clusters = torch.tensor([5, 5, 5, 2, 2, -1])
    >>> metrics.hungarian_accuracy(clusters, torch.tensor([0, 0, 1, 1, 1, 1]))  # 5 is 0, 2 is 1
    0.6666666666666666
    """
    heads = _heads(clusters, losses)
    return sum(_matched(head, label) for head in heads) / len(heads)


@metric
def discovery_accuracy(
    answers: Tensor, label: Tensor, losses: Tensor | None = None, *, known: Count
) -> dict[str, float]:
    """Accuracy where nobody says which rows are of ``known`` classes: these as they are named, novel ones under the best matching.

    ``answers`` [rows], or [rows, heads] with ``losses`` as for ``hungarian_accuracy``, and ``label`` [rows] (int64); the first
    ``known`` numbers are known classes. Columns ``known``, ``novel`` and ``all``; a novel row with a known answer is wrong.

    >>> metrics.discovery_accuracy(torch.tensor([0, 3, 3, 2, 1]), torch.tensor([0, 1, 2, 3, 3]), known=2)
    {'known': 0.5, 'novel': 0.6666666666666666, 'all': 0.6}
    """
    heads = _heads(answers, losses)
    old = label < known
    told = sum((head[old] == label[old]).double().mean().item() for head in heads) / len(heads)
    found = sum(_matched(head[~old] - known, label[~old]) for head in heads) / len(heads)
    share = old.double().mean().item()
    return {"known": told, "novel": found, "all": share * told + (1 - share) * found}


def _heads(clusters: Tensor, losses: Tensor | None) -> list[Tensor]:
    """The clusterings [rows] that count."""
    heads = [clusters] if clusters.dim() == 1 else list(clusters.unbind(1))
    return heads if losses is None else [heads[int(losses.flatten(1).mean(1).argmin())]]


def _matched(clusters: Tensor, label: Tensor) -> float:
    classes, place = label.unique(return_inverse=True)
    names, group = clusters.unique(return_inverse=True)
    table = torch.zeros(len(names), len(classes), dtype=torch.int64)
    table.index_put_((group, place), torch.ones_like(place), accumulate=True)
    counted = table[names >= 0].numpy()
    rows, columns = linear_sum_assignment(counted, maximize=True)
    return float(counted[rows, columns].sum()) / len(label) if len(label) else float("nan")
