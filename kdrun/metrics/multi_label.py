"""Metrics of predictions where several labels may hold of a row: ``logits`` and ``label`` [rows, labels], label 0 or 1."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor

from kdrun.registry import metric
from kdrun.types import Fraction

__all__ = ["mean_average_precision", "multi_label_f1", "subset_accuracy"]


@metric
def mean_average_precision(logits: Tensor, label: Tensor) -> float:
    """Mean over labels of the average precision ``Σ (R_n - R_{n-1}) P_n`` down the ranking of rows; from 0 to 1.

    ``logits`` and ``label`` [rows, labels], label 0 or 1. Rows of one score enter the ranking together. Labels that hold of no
    row are left out; NaN if none is left.

    >>> logits, label = torch.tensor([[3.0], [2.0], [1.0]]), torch.tensor([[1.0], [0.0], [1.0]])
    >>> round(metrics.mean_average_precision(logits, label), 4)  # (1/1 + 2/3) / 2
    0.8333
    """
    from sklearn.metrics import average_precision_score

    wanted = label > 0.5
    present = [one for one in range(label.shape[1]) if wanted[:, one].any()]
    if not present:
        return math.nan
    scores, truth = logits.double().numpy(), wanted.numpy()
    return sum(float(average_precision_score(truth[:, one], scores[:, one])) for one in present) / len(present)


@metric
def multi_label_f1(
    logits: Tensor, label: Tensor, *, threshold: Fraction = 0.5, average: Literal["macro", "micro"] = "macro"
) -> float:
    """F1 ``2 TP / (2 TP + FP + FN)`` of labels whose sigmoid is above ``threshold``; from 0 to 1.

    ``logits`` and ``label`` [rows, labels], label 0 or 1. ``macro`` averages over the labels that hold of a row or are said of
    one, ``micro`` counts all together; NaN if there are none.

    >>> logits, label = torch.tensor([[1.0, 1.0], [1.0, -1.0]]), torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    >>> round(metrics.multi_label_f1(logits, label), 4)  # 2/3 and 1
    0.8333
    """
    said, holds = logits.double().sigmoid() > threshold, label > 0.5
    right, all_said, all_held = (count.sum(0).double() for count in (said & holds, said, holds))
    if average == "micro":
        right, all_said, all_held = right.sum(0, True), all_said.sum(0, True), all_held.sum(0, True)
    counted = all_said + all_held > 0
    return (2 * right[counted] / (all_said + all_held)[counted]).mean().item()


@metric
def subset_accuracy(logits: Tensor, label: Tensor, *, threshold: Fraction = 0.5) -> float:
    """Share of rows of which exactly the labels that hold are said; from 0 to 1.

    ``logits`` and ``label`` [rows, labels], label 0 or 1; a label is said where its sigmoid is above ``threshold``.

    >>> metrics.subset_accuracy(torch.tensor([[1.0, 1.0], [1.0, -1.0]]), torch.tensor([[1.0, 1.0], [0.0, 0.0]]))
    0.5
    """
    return ((logits.double().sigmoid() > threshold) == (label > 0.5)).all(1).double().mean().item()
