"""Classification metrics over all rows of an evaluation.

Positional arguments are found by name among the model's outputs, its taps and the data's columns.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from kdrun.errors import InputError, nearest
from kdrun.registry import metric
from kdrun.types import Count

__all__ = [
    "accuracy",
    "accuracy_by_group",
    "agreement",
    "auroc",
    "brier_score",
    "calibration_error",
    "embedding_statistics",
    "f1_score",
    "mean_absolute_error",
    "nll",
    "root_mean_squared_error",
    "torchmetrics",
]

# Importing torchmetrics takes two seconds; accuracy and nll stand in every run and are three lines of torch.


@metric
def accuracy(logits: Tensor, label: Tensor, *, top: Count = 1) -> float:
    """Share of rows [rows, classes] whose label is among the ``top`` highest logits; from 0 to 1."""
    chosen = logits.topk(top, dim=1).indices
    return (chosen == label[:, None]).any(dim=1).double().mean().item()


@metric
def accuracy_by_group(logits: Tensor, label: Tensor, counts: Tensor) -> dict[str, float]:
    """Accuracy over rows of the most frequent third of the classes (head), the next (medium) and the least (tail).

    ``counts`` [classes], how often each class was trained on. A group without rows is left out.
    """
    order = counts.argsort(descending=True, stable=True)
    right = logits.argmax(1) == label
    found = {}
    for name, classes in zip(("head", "medium", "tail"), order.tensor_split(3), strict=True):
        rows = torch.isin(label, classes)
        if rows.any():
            found[name] = right[rows].double().mean().item()
    return found


@metric
def nll(logits: Tensor, label: Tensor) -> float:
    """Mean negative log likelihood of the labels, in nats."""
    return F.cross_entropy(logits.double(), label).item()


@metric
def calibration_error(
    logits: Tensor, label: Tensor, *, bins: Count = 15, norm: Literal["l1", "l2", "max"] = "l1"
) -> float:
    """Expected calibration error of the top probability in equal bins (Guo et al., 2017); 0 is calibrated."""
    from torchmetrics.functional.classification import multiclass_calibration_error

    return multiclass_calibration_error(logits.softmax(-1), label, logits.shape[1], n_bins=bins, norm=norm).item()


@metric
def f1_score(logits: Tensor, label: Tensor, *, average: Literal["macro", "micro", "weighted"] = "macro") -> float:
    """F1 of the most likely class; from 0 to 1."""
    from torchmetrics.functional.classification import multiclass_f1_score

    return multiclass_f1_score(logits, label, logits.shape[1], average=average).item()


@metric
def auroc(logits: Tensor, label: Tensor, *, average: Literal["macro", "weighted"] = "macro") -> float:
    """Area under the ROC curve, each class against the rest; 0.5 is chance."""
    from torchmetrics.functional.classification import multiclass_auroc

    return multiclass_auroc(logits.softmax(-1), label, logits.shape[1], average=average).item()


@metric
def brier_score(logits: Tensor, label: Tensor) -> float:
    """Mean over rows of the squared distance of the probabilities from the label's indicator; from 0 to 2."""
    probabilities = logits.double().softmax(-1)
    return (probabilities - F.one_hot(label, logits.shape[1])).square().sum(1).mean().item()


@metric
def torchmetrics(logits: Tensor, label: Tensor, *, function: str, options: dict[str, Any] | None = None) -> float:
    """Any multiclass metric of ``torchmetrics.functional.classification``, such as ``cohen_kappa``.

    Raises ``InputError`` for an unknown name or options that it does not take.
    """
    from torchmetrics.functional import classification as library

    known = {n.removeprefix("multiclass_"): n for n in library.__all__ if n.startswith("multiclass_")}
    if function not in known:
        raise InputError(f"torchmetrics has no multiclass metric '{function}'{nearest(function, known)}")
    try:
        value = getattr(library, known[function])(logits.softmax(-1), label, logits.shape[1], **(options or {}))
    except (TypeError, ValueError) as error:
        raise InputError(f"metric {function}: {error}") from None
    return float(value)


@metric
def agreement(logits: Tensor, reference: Tensor) -> float:
    """Share of rows whose most likely class is that of ``reference`` logits [rows, classes]."""
    return (logits.argmax(-1) == reference.argmax(-1)).double().mean().item()


@metric
def mean_absolute_error(logits: Tensor, target: Tensor, mask: Tensor | None = None) -> float:
    """Mean absolute difference from ``target``, over all elements or those that ``mask`` (bool) keeps."""
    errors = (logits.double() - target.view_as(logits)).abs()
    return (errors if mask is None else errors[mask.view_as(errors).bool()]).mean().item()


@metric
def root_mean_squared_error(logits: Tensor, target: Tensor) -> float:
    """Root of the mean squared difference from ``target``."""
    return (logits.double() - target.view_as(logits)).square().mean().sqrt().item()


@metric
def embedding_statistics(feature: Tensor, label: Tensor, means: Tensor) -> dict[str, float]:
    """Mean norm of features [rows, dim], and mean cosine to the own class's mean [classes, dim]."""
    cosine = F.cosine_similarity(feature, means[label], dim=1)
    return {
        "feature_norm": torch.linalg.vector_norm(feature, dim=1).mean().item(),
        "feature_cosine": cosine.mean().item(),
    }
