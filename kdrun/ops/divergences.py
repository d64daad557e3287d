"""Divergences between predictions, and the distillation losses made of them.

No function detaches its inputs: a step graph says where gradients stop.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from kdrun.ops.checks import require_same_shape
from kdrun.ops.tensors import indicator
from kdrun.registry import op
from kdrun.types import Fraction, NonNegative, Positive

__all__ = [
    "cross_entropy",
    "decoupled_kd",
    "jensen_shannon_consistency",
    "js_divergence",
    "kd_loss",
    "kl_divergence",
    "log_probabilities",
    "logit_standardized_kd",
    "pairwise_kl",
    "reduce_rows",
    "standard_normal_kl",
]


def reduce_rows(values: Tensor, reduction: str, weights: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
    """Reduce one value a row [batch, ...]; ``weights`` multiply, ``mask`` (bool) chooses the rows that count.

    ``none`` keeps the rows (0 where masked out), ``sum`` adds them, ``batch_mean`` divides their sum by the
    length of the first axis, ``mean`` by the number of rows that count, ``weighted_mean`` by the sum of weights.
    """
    if weights is not None:
        values = values * weights
    if mask is not None:
        values = torch.where(mask, values, torch.zeros_like(values))
    if reduction == "none":
        return values
    if reduction == "sum":
        return values.sum()
    if reduction == "batch_mean":
        return values.sum() / len(values)
    if reduction == "weighted_mean" and weights is not None:
        counted = weights if mask is None else weights * mask
        return values.sum() / counted.expand_as(values).sum().clamp_min(torch.finfo(values.dtype).tiny)
    if mask is not None:
        return values.sum() / mask.expand_as(values).sum().clamp_min(1)
    return values.mean()


def log_probabilities(value: Tensor, kind: str, temperature: float = 1.0, dim: int = -1) -> Tensor:
    """Logarithms of predictions given as ``logits``, ``probabilities`` or ``log_probabilities``.

    The temperature applies to logits only. A probability of 0 is taken as the smallest normal number, so that
    products with it are 0 and gradients stay finite.
    """
    if kind == "logits":
        return F.log_softmax(value / temperature, dim=dim)
    return value if kind == "log_probabilities" else value.clamp_min(torch.finfo(value.dtype).tiny).log()


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
def kl_divergence(
    student: Tensor,
    teacher: Tensor,
    weights: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    temperature: Positive = 1.0,
    teacher_temperature: Positive | None = None,
    squared_temperature: bool = False,
    direction: Literal["forward", "reverse"] = "forward",
    teacher_is: Literal["logits", "probabilities", "log_probabilities"] = "logits",
    student_is: Literal["logits", "probabilities", "log_probabilities"] = "logits",
    reduction: Literal["batch_mean", "mean", "weighted_mean", "element_mean", "sum", "none"] = "batch_mean",
    dim: int = -1,
) -> Tensor:
    """KL(teacher ‖ student) of softened predictions (Hinton et al., 2015); ``reverse`` is KL(student ‖ teacher).

    ``student`` and ``teacher`` [batch, ..., classes] (``dim`` says which axis holds the classes); ``weights`` and
    ``mask`` (bool) [batch, ...]. Summed over classes; then ``batch_mean`` divides the sum by the batch, ``mean`` by
    the rows that count, ``element_mean`` by rows times classes. With ``squared_temperature`` the result is
    multiplied by ``temperature``², the student's temperature.
    """
    require_same_shape(student, teacher)
    log_student = log_probabilities(student, student_is, temperature, dim)
    log_teacher = log_probabilities(teacher, teacher_is, teacher_temperature or temperature, dim)
    target, other = (log_teacher, log_student) if direction == "forward" else (log_student, log_teacher)
    rows = (target.exp() * (target - other)).sum(dim=dim)
    if squared_temperature:
        rows = rows * temperature**2
    if reduction == "element_mean":
        return reduce_rows(rows, "mean", weights, mask) / student.shape[dim]
    return reduce_rows(rows, reduction, weights, mask)


@op
def js_divergence(
    student: Tensor,
    teacher: Tensor,
    weights: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    temperature: Positive = 1.0,
    teacher_share: Fraction = 0.5,
    teacher_is: Literal["logits", "probabilities", "log_probabilities"] = "logits",
    reduction: Literal["batch_mean", "mean", "weighted_mean", "sum", "none"] = "mean",
    dim: int = -1,
) -> Tensor:
    """Jensen–Shannon divergence of predictions (Lin, 1991), at most ln 2 at the equal mixture.

    ``β KL(p ‖ m) + (1-β) KL(q ‖ m)`` with ``m = β p + (1-β) q``, p the teacher's, q the student's, β ``teacher_share``.
    ``student`` and ``teacher`` [batch, ..., classes]; ``weights`` and ``mask`` (bool) [batch, ...].
    """
    require_same_shape(student, teacher)
    log_student = log_probabilities(student, "logits", temperature, dim)
    log_teacher = log_probabilities(teacher, teacher_is, temperature, dim)
    p, q = log_teacher.exp(), log_student.exp()
    mixture = log_probabilities(teacher_share * p + (1 - teacher_share) * q, "probabilities")
    of_teacher = (p * (log_teacher - mixture)).sum(dim)
    of_student = (q * (log_student - mixture)).sum(dim)
    return reduce_rows(teacher_share * of_teacher + (1 - teacher_share) * of_student, reduction, weights, mask)


@op
def jensen_shannon_consistency(*logits: Tensor) -> Tensor:
    """Mean KL of each prediction from the mean of all (Hendrycks et al., 2020, AugMix); logits [batch, classes], two or more."""
    logs = torch.stack([F.log_softmax(value, dim=-1) for value in logits])
    mixture = log_probabilities(logs.exp().mean(0), "probabilities")
    return (logs.exp() * (logs - mixture)).sum(-1).mean()


@op
def pairwise_kl(first: Tensor, second: Tensor) -> Tensor:
    """Matrix [n, m] whose entry (i, j) is KL(first_i ‖ second_j), of probabilities [n, classes] and [m, classes]."""
    log_first = log_probabilities(first, "probabilities")
    return (first * log_first).sum(1, keepdim=True) - first @ log_probabilities(second, "probabilities").T


@op
def kd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor | None = None,
    *,
    temperature: Positive = 1.0,
    alpha: Fraction = 0.5,
    reduction: Literal["batch_mean", "sum"] = "batch_mean",
) -> Tensor:
    """Knowledge distillation: ``α·CE + (1-α)·T²·KL(teacher ‖ student)`` (Hinton et al., 2015).

    Logits [batch, classes], ``labels`` [batch] (int64). With ``alpha`` 0 or without labels it is the KL term alone,
    *without* T².
    """
    divergence = kl_divergence(student_logits, teacher_logits, temperature=temperature, reduction=reduction)
    if labels is None or alpha == 0:
        return divergence
    hard = F.cross_entropy(student_logits, labels, reduction="sum" if reduction == "sum" else "mean")
    return alpha * hard + (1 - alpha) * temperature**2 * divergence


@op
def decoupled_kd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    *,
    alpha: NonNegative = 1.0,
    beta: NonNegative = 8.0,
    temperature: Positive = 4.0,
) -> Tensor:
    """Decoupled distillation: ``T²·(α·KL of two bins + β·KL among the other classes)`` (Zhao et al., 2022, eq. 7).

    Logits [batch, classes], ``labels`` [batch] (int64). The two bins are the true class and the rest; among the
    others the true class is left out, its softened logit lowered by 1000. Both are batch means.
    """
    require_same_shape(student_logits, teacher_logits)
    student, teacher = student_logits / temperature, teacher_logits / temperature
    true = indicator(labels, student.shape[1])
    two_bins = _kl(_two_bins(student, true), _two_bins(teacher, true))
    lowered = 1000.0 * true.to(student.dtype)
    others = _kl(F.log_softmax(student - lowered, dim=1), F.log_softmax(teacher - lowered, dim=1))
    return temperature**2 * (alpha * two_bins + beta * others)


def _two_bins(logits: Tensor, true: Tensor) -> Tensor:
    """Log-probabilities [batch, 2] of the true class and of all others together."""
    logs = F.log_softmax(logits, dim=1)
    own = logs.masked_fill(~true, 0).sum(1)
    rest = logs.masked_fill(true, -1e4).logsumexp(1)
    return torch.stack([own, rest], dim=1)


def _kl(log_student: Tensor, log_teacher: Tensor) -> Tensor:
    return (log_teacher.exp() * (log_teacher - log_student)).sum() / len(log_student)


@op
def logit_standardized_kd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor | None = None,
    *,
    temperature: Positive = 2.0,
    alpha: NonNegative = 0.5,
    beta: NonNegative = 9.0,
    eps: Positive = 1e-7,
) -> Tensor:
    """Distillation of standardised logits: ``α·CE + β·T²·KL`` (Sun et al., 2024).

    Logits [batch, classes] are standardised a row, ``(z - mean) / (eps + std)`` with the unbiased deviation, for the
    KL term only; ``labels`` [batch] (int64), without which there is no CE term.
    """
    student, teacher = _standardize(student_logits, eps), _standardize(teacher_logits, eps)
    soft = beta * temperature**2 * kl_divergence(student, teacher, temperature=temperature)
    return soft if labels is None else alpha * F.cross_entropy(student_logits, labels) + soft


@op
def standard_normal_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL of diagonal Gaussians from the standard normal law (Kingma & Welling, 2014), in nats.

    Both [batch, features]: ``½ Σ (e^v + m² - 1 - v)``, summed over features, mean over the batch.
    """
    require_same_shape(mean, log_variance, "mean and log variance")
    return 0.5 * (log_variance.exp() + mean.square() - 1 - log_variance).flatten(1).sum(1).mean()


def _standardize(logits: Tensor, eps: float) -> Tensor:
    return (logits - logits.mean(1, keepdim=True)) / (eps + logits.std(1, keepdim=True))
