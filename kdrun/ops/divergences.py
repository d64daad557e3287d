"""Divergences between predictions, and entropies."""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from kdrun.registry import op
from kdrun.types import Fraction, Positive

__all__ = ["cross_entropy", "kl_divergence"]


def reduce_rows(values: Tensor, reduction: str) -> Tensor:
    """Reduce one value a row: ``none``, ``sum`` or the mean over rows."""
    if reduction == "none":
        return values
    return values.sum() if reduction == "sum" else values.mean()


@op
def cross_entropy(
    logits: Tensor,
    labels: Tensor,
    *,
    label_smoothing: Fraction = 0.0,
    reduction: Literal["mean", "sum", "none"] = "mean",
) -> Tensor:
    """Cross-entropy of logits [batch, classes] with labels [batch] (int64) or soft targets [batch, classes]."""
    return F.cross_entropy(logits, labels, label_smoothing=label_smoothing, reduction=reduction)


@op
def kl_divergence(
    student: Tensor,
    teacher: Tensor,
    *,
    temperature: Positive = 1.0,
    squared_temperature: bool = False,
    reduction: Literal["batch_mean", "element_mean", "sum", "none"] = "batch_mean",
) -> Tensor:
    """KL(teacher ‖ student) of softened predictions (Hinton et al., 2015); logits [batch, classes]."""
    log_student = F.log_softmax(student / temperature, dim=1)
    log_teacher = F.log_softmax(teacher / temperature, dim=1)
    rows = (log_teacher.exp() * (log_teacher - log_student)).sum(dim=1)
    factor = temperature**2 if squared_temperature else 1.0
    if reduction == "element_mean":
        return factor * rows.sum() / student.numel()
    return factor * reduce_rows(rows, "mean" if reduction == "batch_mean" else reduction)
