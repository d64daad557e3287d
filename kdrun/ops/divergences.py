"""Divergences between predictions.

No function detaches its inputs: a step graph says where gradients stop.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from kdrun.ops.checks import require_same_shape
from kdrun.ops.reductions import reduce_rows
from kdrun.registry import op
from kdrun.types import Fraction, Positive

__all__ = [
    "jensen_shannon_consistency",
    "js_divergence",
    "kl_divergence",
    "log_probabilities",
    "pairwise_kl",
    "standard_normal_kl",
]


def log_probabilities(value: Tensor, kind: str, temperature: float = 1.0, dim: int = -1) -> Tensor:
    """Logarithms of predictions given as ``logits``, ``probabilities`` or ``log_probabilities``.

    The temperature applies to logits only. A probability of 0 is taken as the smallest normal number, so that
    products with it are 0 and gradients stay finite.
    """
    if kind == "logits":
        return F.log_softmax(value / temperature, dim=dim)
    return value if kind == "log_probabilities" else value.clamp_min(torch.finfo(value.dtype).tiny).log()


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
def standard_normal_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL of diagonal Gaussians from the standard normal law (Kingma & Welling, 2014), in nats.

    Both [batch, features]: ``½ Σ (e^v + m² - 1 - v)``, summed over features, mean over the batch.
    """
    require_same_shape(mean, log_variance, "mean and log variance")
    return 0.5 * (log_variance.exp() + mean.square() - 1 - log_variance).flatten(1).sum(1).mean()
