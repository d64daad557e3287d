"""Metrics of taggers: mentions found, mentions confused, and how far apart kinds of mentions lie.

Tags are BIO numbers by word: 0 outside, ``2c - 1`` and ``2c`` for the first and further words of type c; negative is padding.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from kdrun.errors import InputError
from kdrun.ops.spans import mention_starts
from kdrun.registry import metric
from kdrun.types import Count

__all__ = ["between_group_cosine", "confusion_rate", "entity_f1"]


def _names(row: list[int], kept: list[bool]) -> list[str]:
    return [
        "O" if tag <= 0 else f"{'I' if tag % 2 == 0 else 'B'}-{(tag + 1) // 2}"
        for tag, keep in zip(row, kept, strict=True)
        if keep
    ]


def _known(predicted: Tensor, types: int | None) -> Tensor:
    return predicted if types is None else predicted.masked_fill(predicted > 2 * types, 0)


@metric(extra="nlp", requires=("seqeval",))
def entity_f1(predicted: Tensor, tags: Tensor, *, types: Count | None = None) -> dict[str, float]:
    """Micro-averaged F1, precision and recall of mentions, with span and type exact (Tjong Kim Sang & De Meulder, 2003).

    ``predicted`` and ``tags`` [rows, W] (int64); words whose gold tag is negative are left out. Predictions of types
    above ``types`` count as outside. A stray further word begins a mention, as in the shared task's own script. Raises
    ``InputError`` without the package seqeval.

    >>> tags = torch.tensor([[1, 2, 0, 3, -1]])  # a mention of two words, one of another type, padding
    >>> metrics.entity_f1(torch.tensor([[1, 2, 0, 1, 0]]), tags)
    {'entity_f1': 0.5, 'precision': 0.5, 'recall': 0.5}
    """
    try:
        from seqeval.metrics import f1_score, precision_score, recall_score
    except ImportError:
        raise InputError("metric 'entity_f1' needs an extra: pip install 'kdrun[nlp]'") from None
    kept = (tags >= 0).tolist()
    gold = [_names(row, k) for row, k in zip(tags.tolist(), kept, strict=True)]
    found = [_names(row, k) for row, k in zip(_known(predicted, types).tolist(), kept, strict=True)]
    scores = {"entity_f1": f1_score, "precision": precision_score, "recall": recall_score}
    return {name: float(score(gold, found, zero_division=0)) for name, score in scores.items()}


@metric(best="lowest")
def confusion_rate(predicted: Tensor, mentions: Tensor, *, types: Count | None = None) -> float:
    """Share of ``mentions`` of which a word is predicted to be in a mention of a type that it does not have.

    ``mentions`` [rows, W] (int64) are tags of mentions of another tag set, such as source mentions in target text;
    ``predicted`` [rows, W] tags of the model's set. Predictions above ``types`` count as outside. From 0 to 1, NaN
    without mentions.

    >>> mentions = torch.tensor([[1, 2, 0, 1]])  # two mentions
    >>> metrics.confusion_rate(torch.tensor([[0, 3, 3, 0]]), mentions)  # a word of the first is taken for another
    0.5
    """
    start, inside = mention_starts(mentions)
    wrong = inside & (_known(predicted, types) > 0)
    hit = torch.zeros_like(start).scatter_add(1, start, wrong.long()) > 0
    begins = inside & (start == torch.arange(start.shape[1]))
    return hit[begins].double().mean().item()


@metric
def between_group_cosine(features: Tensor, groups: Tensor) -> float:
    """Mean cosine over all pairs of a row of group 0 and one of group 1; from -1 to 1.

    ``features`` [rows, dim], ``groups`` [rows] of 0 and 1. NaN if a group has no row.

    >>> features = torch.tensor([[1.0, 0.0], [0.0, 1.0], [5.0, 0.0]])
    >>> metrics.between_group_cosine(features, torch.tensor([0, 0, 1]))
    0.5
    """
    unit = F.normalize(features.double(), dim=1)
    return (unit[groups == 0].mean(0) @ unit[groups == 1].mean(0)).item()
