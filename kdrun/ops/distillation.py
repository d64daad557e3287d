"""Distillation losses made of divergences between logits.

No function detaches its inputs: a step graph says where gradients stop.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from kdrun.ops.checks import require_same_shape
from kdrun.ops.divergences import kl_divergence
from kdrun.ops.indexing import indicator
from kdrun.registry import op
from kdrun.types import Fraction, NonNegative, Positive

__all__ = ["decoupled_kd", "gated_relation_distillation", "kd_loss", "logit_standardized_kd"]


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

    Logits [batch, classes], ``labels`` [batch] (int64); T is ``temperature``, α ``alpha``. With ``alpha`` 0 or without
    labels it is the KL term alone, *without* T². Batch mean or sum of both terms.

    >>> student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[4.0, 0.0]])
    >>> ops.kd_loss(student, teacher, torch.tensor([0]), temperature=4.0, alpha=0.5)
    tensor(1.2341)
    >>> ops.kd_loss(student, teacher, torch.tensor([0]), alpha=1.0)  # cross-entropy with the labels alone: ln 2
    tensor(0.6931)
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

    Logits [batch, classes], ``labels`` [batch] (int64). The two bins are the true class and the rest; among the others
    the true class is left out, its softened logit lowered by 1000. Both are batch means. Raises ``ValueError`` if
    shapes differ.

    >>> student, teacher = torch.tensor([[3.0, 0.0, 0.0]]), torch.tensor([[3.0, 2.0, -9.0]])
    >>> ops.decoupled_kd(student, teacher, torch.tensor([0]), beta=0.0)  # both bins nearly agree
    tensor(0.0342)
    >>> ops.decoupled_kd(student, teacher, torch.tensor([0]), alpha=0.0)  # the other classes do not
    tensor(59.6405)
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

    Logits [batch, classes] are standardised a row, ``(z - mean) / (eps + std)`` with the unbiased deviation, for the KL
    term only; ``labels`` [batch] (int64), without which there is no CE term. So a student need not reach the teacher's
    scale.

    >>> teacher = torch.tensor([[4.0, 2.0, 0.0]])
    >>> bool(ops.logit_standardized_kd(teacher / 10 + 1, teacher).abs() < 1e-5)  # 0: the scale makes no difference
    True
    >>> ops.logit_standardized_kd(torch.tensor([[2.0, 4.0, 0.0]]), teacher)
    tensor(3.5871)
    """
    student, teacher = _standardize(student_logits, eps), _standardize(teacher_logits, eps)
    soft = beta * temperature**2 * kl_divergence(student, teacher, temperature=temperature)
    return soft if labels is None else alpha * F.cross_entropy(student_logits, labels) + soft


def _standardize(logits: Tensor, eps: float) -> Tensor:
    return (logits - logits.mean(1, keepdim=True)) / (eps + logits.std(1, keepdim=True))


@op
def gated_relation_distillation(
    student: Tensor,
    teacher: Tensor,
    labelled: Tensor,
    *,
    temperature: Positive = 0.1,
    relation_temperature: Positive = 4.0,
    gated: bool = True,
) -> Tensor:
    """What unlabelled rows of novel classes have in common with known ones, kept as a teacher sees it (Gu et al., 2023): [heads].

    ``T² · w · -Σ q log p`` with q and p the softmax over known classes of the teacher's and the student's logits over T, a mean over
    views and rows that are not ``labelled`` [batch] (bool). The gate w is the probability that the student's joint softmax over T
    gives to known classes, divided by its mean over views, heads and these rows. It has a gradient: the student may weigh a row
    less. With ``gated`` false it is 1.

    ``student`` [views, batch, heads, known + novel] and ``teacher`` [targeted, batch, known] of the first views are cosines, which
    are divided by ``temperature`` here; T is ``relation_temperature``.

    >>> student, teacher = torch.zeros(1, 2, 1, 3), torch.tensor([[[0.0, 0.0], [9.0, 0.0]]])
    >>> ops.gated_relation_distillation(student, teacher, torch.tensor([True, False]), relation_temperature=1.0)  # ln 2
    tensor([0.6931])
    """
    softened = student[: len(teacher)] / temperature / relation_temperature
    known = teacher.shape[-1]
    relation = (teacher / temperature / relation_temperature).softmax(-1).unsqueeze(2)
    rows = -(relation * F.log_softmax(softened[..., :known], dim=-1)).sum(-1)
    free = (~labelled)[:, None].to(rows.dtype)
    count = (len(teacher) * free.sum()).clamp_min(1)
    if gated:
        weight = softened.softmax(-1)[..., :known].sum(-1)
        rows = rows * weight / ((weight * free).sum() / (count * rows.shape[-1])).clamp_min(1e-12)
    return relation_temperature**2 * (rows * free).sum((0, 1)) / count
