"""Losses, margins and gradients of classifiers against labels."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor
from torch.nn import functional as F

from kdrun.ops.divergences import log_probabilities
from kdrun.ops.indexing import indicator
from kdrun.ops.reductions import reduce_rows
from kdrun.registry import op
from kdrun.types import Fraction, NonNegative

__all__ = ["classifier_gradient", "cross_entropy", "is_correct", "max_margin_loss", "teacher_margin"]


@op
def cross_entropy(
    logits: Tensor,
    labels: Tensor,
    weights: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    label_smoothing: Fraction = 0.0,
    reduction: Literal["mean", "batch_mean", "weighted_mean", "sum", "none"] = "mean",
    ignore_index: int = -100,
    dim: int = -1,
    given: Literal["logits", "probabilities"] = "logits",
    eps: NonNegative = 0.0,
) -> Tensor:
    """Cross-entropy of logits with hard or soft labels.

    ``logits`` [batch, ..., classes] (``dim`` says which axis holds the classes: 1 for maps [batch, classes, h, w]);
    ``labels`` [batch, ...] (int64; rows of ``ignore_index`` do not count) or soft targets in the shape of ``logits``;
    ``weights`` and ``mask`` (bool) [batch, ...]. ``mean`` divides by the number of rows that count. ``given`` says
    whether the input holds logits or probabilities; to the latter ``eps`` is added inside the logarithm.
    """
    soft = labels.is_floating_point()
    if logits.dim() > 2:
        logits, labels = logits.movedim(dim, 1), labels.movedim(dim, 1) if soft else labels
    options: dict[str, Any] = {"label_smoothing": label_smoothing, "ignore_index": ignore_index}
    if given == "probabilities":
        rows = _soft_rows(logits, labels, label_smoothing, ignore_index, eps)
    elif (
        weights is None
        and mask is None
        and labels.dim() == logits.dim() - 1 == 1
        and reduction in ("mean", "sum", "none")
    ):
        return F.cross_entropy(logits, labels, reduction=reduction, **options)
    else:
        rows = F.cross_entropy(logits, labels, reduction="none", **options)
    if not soft:
        counted = labels != ignore_index
        mask = counted if mask is None else mask & counted
    return reduce_rows(rows, reduction, weights, mask)


def _soft_rows(probabilities: Tensor, labels: Tensor, smoothing: float, ignore_index: int, eps: float) -> Tensor:
    """``-Σ y log(p + eps)`` of probabilities with the classes along axis 1 (the last of two), summed over them."""
    classes = probabilities.shape[1]
    if not labels.is_floating_point():
        labels = (
            indicator(labels.masked_fill(labels == ignore_index, -1), classes).movedim(-1, 1).to(probabilities.dtype)
        )
    target = (1 - smoothing) * labels + smoothing / classes if smoothing else labels
    logs = (probabilities + eps).log() if eps else log_probabilities(probabilities, "probabilities")
    return -(target * logs).sum(1)


@op
def is_correct(logits: Tensor, labels: Tensor) -> Tensor:
    """Whether the most likely class is the label: bool [batch] of logits [batch, classes] and labels [batch]."""
    return logits.argmax(1) == labels


@op
def max_margin_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Batch mean of the largest other logit minus the target's (Yuan et al., 2023); logits [batch, classes], labels [batch]."""
    wanted = indicator(labels, logits.shape[-1])
    other = logits.masked_fill(wanted, float("-inf")).amax(-1)
    return (other - logits.gather(-1, labels[:, None]).squeeze(-1)).mean()


@op
def teacher_margin(logits: Tensor, labels: Tensor) -> Tensor:
    """True-class probability minus the mean of the others', not below 0: [batch] of logits [batch, classes], labels [batch]."""
    true = logits.softmax(1).gather(1, labels.unsqueeze(1)).squeeze(1)
    return (true - (1 - true) / (logits.shape[1] - 1)).clamp_min(0)


@op
def classifier_gradient(logits: Tensor, labels: Tensor, feature: Tensor) -> Tensor:
    """Gradient of the mean cross-entropy with respect to the weight of a linear head: [classes, features].

    ``(softmax(logits) - onehot)ᵀ feature / batch`` of logits [batch, classes], labels [batch], and what the head reads
    [batch, features]: the weights of a class activation map (Dong, Li & Wei, 2023).
    """
    error = logits.softmax(-1) - indicator(labels, logits.shape[-1]).to(logits.dtype)
    return error.T @ feature / len(logits)
