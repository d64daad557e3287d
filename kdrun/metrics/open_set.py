"""Metrics where some rows belong to none of the model's classes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kdrun.registry import metric
from kdrun.types import Fraction

__all__ = ["h_score"]


@metric
def h_score(logits: Tensor, label: Tensor, *, threshold: Fraction = 0.55, per_class: bool = False) -> dict[str, float]:
    """Harmonic mean of the accuracies on known and on unknown classes (Fu et al., 2020); from 0 to 1.

    ``logits`` [rows, classes]; a ``label`` [rows] (int64) that is no class of the model is unknown. A row is called
    unknown if its entropy over ln classes is above ``threshold``. Columns: ``known``, the mean accuracy over the
    classes that occur; ``unknown``, the share of unknown rows called so; ``h``, NaN where one of them has no rows; and
    with ``per_class`` each class's accuracy.

    >>> logits = torch.tensor([[9.0, 0.0], [9.0, 0.0], [0.0, 0.0]])  # sure, sure, undecided
    >>> {name: round(value, 4) for name, value in metrics.h_score(logits, torch.tensor([0, 1, 2])).items()}
    {'h': 0.6667, 'known': 0.5, 'unknown': 1.0}
    """
    classes = logits.shape[1]
    probabilities = logits.double().softmax(1)
    entropy = -torch.special.xlogy(probabilities, probabilities).sum(1) / math.log(classes)
    answer = torch.where(entropy > threshold, classes, probabilities.argmax(1))
    truth = torch.where((label < 0) | (label >= classes), classes, label)
    right = (answer == truth).double()
    present = [c for c in torch.unique(truth).tolist() if c < classes]
    accuracies = {f"class_{c}": right[truth == c].mean().item() for c in present}
    known = sum(accuracies.values()) / len(present) if present else math.nan
    unknown = right[truth == classes].mean().item()
    total = known + unknown
    h = 2 * known * unknown / total if total != 0 else 0.0
    return {"h": h, "known": known, "unknown": unknown, **(accuracies if per_class else {})}
