"""Classification metrics over all rows of an evaluation.

Positional arguments are found by name among the model's outputs, its taps and the data's columns.
"""

from __future__ import annotations

import math
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
    """Share of rows whose label is among the ``top`` highest logits; from 0 to 1.

    ``logits`` [rows, classes], ``label`` [rows] (int64).

    >>> logits, label = torch.tensor([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]]), torch.tensor([0, 1])
    >>> metrics.accuracy(logits, label), metrics.accuracy(logits, label, top=2)
    (0.5, 1.0)
    """
    chosen = logits.topk(top, dim=1).indices
    return (chosen == label[:, None]).any(dim=1).double().mean().item()


@metric
def accuracy_by_group(logits: Tensor, label: Tensor, counts: Tensor) -> dict[str, float]:
    """Accuracy over rows of frequent, less frequent and rare classes, a third of them each; from 0 to 1.

    Columns ``head``, ``medium`` and ``tail``. ``logits`` [rows, classes], ``label`` [rows] (int64); ``counts``
    [classes], how often each class was trained on. A group without rows is left out.

    >>> logits, label = torch.eye(3), torch.tensor([0, 1, 1])
    >>> metrics.accuracy_by_group(logits, label, torch.tensor([100, 10, 1]))
    {'head': 1.0, 'medium': 0.5}
    """
    order = counts.argsort(descending=True, stable=True)
    right = logits.argmax(1) == label
    found = {}
    for name, classes in zip(("head", "medium", "tail"), order.tensor_split(3), strict=True):
        rows = torch.isin(label, classes)
        if rows.any():
            found[name] = right[rows].double().mean().item()
    return found


@metric(best="lowest")
def nll(logits: Tensor, label: Tensor) -> float:
    """Mean negative log likelihood of the labels, in nats; 0 or above.

    ``logits`` [rows, classes], ``label`` [rows] (int64); in float64.

    >>> round(metrics.nll(torch.zeros(1, 2), torch.tensor([0])), 4)  # ln 2
    0.6931
    """
    return F.cross_entropy(logits.double(), label).item()


@metric(best="lowest")
def calibration_error(
    logits: Tensor, label: Tensor, *, bins: Count = 15, norm: Literal["l1", "l2", "max"] = "l1"
) -> float:
    """Expected calibration error of the top probability in equal bins (Guo et al., 2017); 0 is calibrated.

    ``logits`` [rows, classes], ``label`` [rows] (int64). ``l1`` weighs each bin's gap between confidence and accuracy
    by its rows, ``l2`` is the root of the weighted squares, ``max`` the largest gap. A confidence between two bins is
    in the lower one, so that a confidence of 1 shares the last bin with those just below. In float64; NaN without rows.

    >>> logits = torch.tensor([[0.0, 99.0], [0.0, 99.0]])  # always sure, and right half of the time
    >>> metrics.calibration_error(logits, torch.tensor([0, 1]))
    0.5
    """
    if not len(label):
        return math.nan
    confidence, chosen = logits.double().softmax(1).max(1)
    place = torch.bucketize(confidence, torch.linspace(0, 1, bins + 1, dtype=torch.float64)[1:-1])
    excess = (chosen == label).double() - confidence
    gaps = torch.zeros(bins, dtype=torch.float64).index_add(0, place, excess).abs() / len(label)
    shares = torch.bincount(place, minlength=bins).double() / len(label)
    gaps, shares = gaps[shares > 0], shares[shares > 0]
    found = {"l1": gaps.sum(), "l2": (gaps.square() / shares).sum().sqrt(), "max": (gaps / shares).max()}
    return found[norm].item()


@metric
def f1_score(logits: Tensor, label: Tensor, *, average: Literal["macro", "micro", "weighted"] = "macro") -> float:
    """F1 of the most likely class, ``2 TP / (2 TP + FP + FN)``; from 0 to 1.

    ``logits`` [rows, classes], ``label`` [rows] (int64). ``macro`` averages over the classes that are a row's label or
    most likely one, ``weighted`` by their rows, ``micro`` counts all classes together.

    >>> logits, label = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1, 1])
    >>> round(metrics.f1_score(logits, label), 4)  # both classes have 2/3
    0.6667
    """
    from torchmetrics.functional.classification import multiclass_f1_score

    return multiclass_f1_score(logits, label, logits.shape[1], average=average).item()


@metric
def auroc(logits: Tensor, label: Tensor, *, average: Literal["macro", "weighted"] = "macro") -> float:
    """Area under the ROC curve, each class against the rest; 0.5 is chance, 1 the best.

    ``logits`` [rows, classes], ``label`` [rows] (int64). ``macro`` averages over the classes that some rows have and
    others have not, ``weighted`` by their rows; NaN without such a class. Rows are ordered by the class's log odds in
    float64, which tell rows apart whose probabilities round to 1; equal ones count half.

    >>> logits, label = torch.tensor([[2.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), torch.tensor([0, 0, 1])
    >>> metrics.auroc(logits, label)  # over two classes: no row has the third
    1.0
    """
    odds = _log_odds(logits.double())
    counts = torch.bincount(label, minlength=logits.shape[1])
    present = [c for c, count in enumerate(counts.tolist()) if 0 < count < len(label)]
    if not present or odds.isnan().any():
        return math.nan
    areas = torch.stack([_area(odds[label == c, c], odds[label != c, c]) for c in present])
    weights = counts[present].double() if average == "weighted" else torch.ones_like(areas)
    return ((areas * weights).sum() / weights.sum()).item()


def _log_odds(logits: Tensor) -> Tensor:
    """``ln p - ln(1 - p)`` of each class's probability, exact where it is all but 1: [rows, classes].

    Each row is sorted first, so that rows of the same numbers round alike and tie.
    """
    ordered, classes = logits.sort(dim=1, descending=True)
    ordered = ordered - ordered[:, :1]
    log_p = ordered.log_softmax(1)[:, 1:]  # of all but the likeliest; none is above a half
    odds = torch.cat([-ordered[:, 1:].logsumexp(1, keepdim=True), log_p - torch.log1p(-log_p.exp())], 1)
    return torch.empty_like(odds).scatter(1, classes, odds)


def _area(positive: Tensor, negative: Tensor) -> Tensor:
    """Share of pairs of a positive and a negative in which the positive's score is higher; equal ones count half."""
    ordered = negative.sort().values
    below, upto = (torch.searchsorted(ordered, positive, right=right).double() for right in (False, True))
    return (below + upto).mean() / (2 * len(negative))


@metric(best="lowest")
def brier_score(logits: Tensor, label: Tensor) -> float:
    """Mean over rows of the squared distance of the probabilities from the label's indicator; from 0 to 2.

    ``Σ_k (p_k - [k = y])²`` of ``logits`` [rows, classes] and ``label`` [rows] (int64).

    >>> metrics.brier_score(torch.tensor([[0.0, 0.0]]), torch.tensor([0]))  # (½)² + (½)²
    0.5
    """
    probabilities = logits.double().softmax(-1)
    return (probabilities - F.one_hot(label, logits.shape[1])).square().sum(1).mean().item()


@metric
def torchmetrics(logits: Tensor, label: Tensor, *, function: str, options: dict[str, Any] | None = None) -> float:
    """Any multiclass metric of ``torchmetrics.functional.classification``, such as ``cohen_kappa``.

    ``function`` is its name without ``multiclass_``, ``options`` are its own. ``logits`` [rows, classes] (handed over
    as probabilities, float64), ``label`` [rows] (int64). Absent classes and ties count as they do there. Raises
    ``InputError`` for an unknown name, options that it does not take, or more than a single number.

    >>> logits, label = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1])
    >>> metrics.torchmetrics(logits, label, function="cohen_kappa")
    1.0
    """
    from torchmetrics.functional import classification as library

    known = {n.removeprefix("multiclass_"): n for n in library.__all__ if n.startswith("multiclass_")}
    if function not in known:
        raise InputError(f"torchmetrics has no multiclass metric '{function}'{nearest(function, known)}")
    try:
        found = getattr(library, known[function])(logits.double().softmax(1), label, logits.shape[1], **(options or {}))
        return float(found)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"metric {function}: {error}") from None


@metric
def agreement(logits: Tensor, reference: Tensor) -> float:
    """Share of rows whose most likely class is that of ``reference``; from 0 to 1.

    ``logits`` and ``reference`` [rows, classes], or [..., classes]; only the order of the classes counts.

    >>> metrics.agreement(torch.tensor([[2.0, 1.0], [2.0, 1.0]]), torch.tensor([[0.9, 0.1], [0.2, 0.8]]))
    0.5
    """
    return (logits.argmax(-1) == reference.argmax(-1)).double().mean().item()


@metric(best="lowest")
def mean_absolute_error(logits: Tensor, target: Tensor, mask: Tensor | None = None) -> float:
    """Mean absolute difference from ``target``, over all elements or those that ``mask`` keeps; 0 or above.

    ``logits`` [rows, ...]; ``target`` and ``mask`` (bool) of as many elements, in its order.

    >>> logits, target = torch.tensor([[1.0], [2.0]]), torch.tensor([1.0, 5.0])
    >>> metrics.mean_absolute_error(logits, target)
    1.5
    >>> metrics.mean_absolute_error(logits, target, torch.tensor([True, False]))
    0.0
    """
    errors = (logits.double() - target.view_as(logits)).abs()
    return (errors if mask is None else errors[mask.view_as(errors).bool()]).mean().item()


@metric(best="lowest")
def root_mean_squared_error(logits: Tensor, target: Tensor) -> float:
    """Root of the mean squared difference from ``target``; 0 or above, in its unit.

    ``logits`` [rows, ...]; ``target`` of as many elements, in its order.

    >>> metrics.root_mean_squared_error(torch.tensor([[1.0], [2.0]]), torch.tensor([4.0, 5.0]))
    3.0
    """
    return (logits.double() - target.view_as(logits)).square().mean().sqrt().item()


@metric
def embedding_statistics(feature: Tensor, label: Tensor, means: Tensor) -> dict[str, float]:
    """Mean norm of features (``feature_norm``), and mean cosine to the own class's mean (``feature_cosine``).

    ``feature`` [rows, dim], ``label`` [rows] (int64), ``means`` [classes, dim].

    >>> feature, means = torch.tensor([[3.0, 4.0], [0.0, 5.0]]), torch.tensor([[3.0, 4.0], [1.0, 0.0]])
    >>> metrics.embedding_statistics(feature, torch.tensor([0, 1]), means)
    {'feature_norm': 5.0, 'feature_cosine': 0.5}
    """
    cosine = F.cosine_similarity(feature, means[label], dim=1)
    return {
        "feature_norm": torch.linalg.vector_norm(feature, dim=1).mean().item(),
        "feature_cosine": cosine.mean().item(),
    }
