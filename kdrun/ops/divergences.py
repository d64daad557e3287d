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

    ``Σ p (log p - log q)`` in nats, with p and q the softmax of ``teacher / T`` and ``student / T``; T is
    ``temperature``, and ``teacher_temperature`` the teacher's own where it differs. Not negative, 0 where both agree.

    ``student`` and ``teacher`` [batch, ..., classes] (``dim`` says which axis holds the classes), logits unless
    ``student_is`` and ``teacher_is`` say otherwise; ``weights`` and ``mask`` (bool) [batch, ...]. Summed over classes;
    then ``batch_mean`` divides the sum by the batch, ``mean`` by the rows that count, ``weighted_mean`` by the sum of
    weights, ``element_mean`` by rows times classes; ``none`` keeps the rows. With ``squared_temperature`` the result is
    multiplied by T², which keeps gradients of one size at all temperatures. Raises ``ValueError`` if shapes differ.

    >>> ops.kl_divergence(torch.zeros(2, 3), torch.zeros(2, 3))
    tensor(0.)
    >>> student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[4.0, 0.0]])
    >>> ops.kl_divergence(student, teacher)
    tensor(0.6031)
    >>> ops.kl_divergence(student, teacher, temperature=4.0, squared_temperature=True)
    tensor(1.7751)
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

    ``β KL(p ‖ m) + (1-β) KL(q ‖ m)`` with ``m = β p + (1-β) q``, p the teacher's prediction, q the student's, β
    ``teacher_share``. ``student`` (logits) and ``teacher`` [batch, ..., classes]; ``weights`` and ``mask`` (bool)
    [batch, ...]; reductions as in ``kl_divergence``. Raises ``ValueError`` if shapes differ.

    >>> ops.js_divergence(torch.tensor([[0.0, 0.0]]), torch.tensor([[4.0, 0.0]]))
    tensor(0.1804)
    >>> ops.js_divergence(torch.tensor([[0.0, 99.0]]), torch.tensor([[99.0, 0.0]]))  # ln 2: they share nothing
    tensor(0.6931)
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
    """Mean KL of each prediction from the mean of all (AugMix: Hendrycks et al., 2020): a scalar, not negative.

    ``logits`` [batch, classes], two or more: predictions for views of the same rows. The mean is over views and batch.

    >>> ops.jensen_shannon_consistency(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 2.0]]))
    tensor(0.)
    >>> ops.jensen_shannon_consistency(torch.tensor([[99.0, 0.0]]), torch.tensor([[0.0, 99.0]]))  # ln 2
    tensor(0.6931)
    """
    logs = torch.stack([F.log_softmax(value, dim=-1) for value in logits])
    mixture = log_probabilities(logs.exp().mean(0), "probabilities")
    return (logs.exp() * (logs - mixture)).sum(-1).mean()


@op
def pairwise_kl(first: Tensor, second: Tensor) -> Tensor:
    """Matrix of divergences between predictors: entry (i, j) is KL(first_i ‖ second_j), in nats, [n, m].

    ``first`` [n, classes] and ``second`` [m, classes] are probabilities; a 0 counts as the smallest normal number.

    >>> laws = torch.tensor([[0.5, 0.5], [0.9, 0.1]])
    >>> ops.pairwise_kl(laws, laws)
    tensor([[0.0000, 0.5108],
            [0.3681, 0.0000]])
    """
    log_first = log_probabilities(first, "probabilities")
    return (first * log_first).sum(1, keepdim=True) - first @ log_probabilities(second, "probabilities").T


@op
def standard_normal_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL of diagonal Gaussians from the standard normal law (Kingma & Welling, 2014), in nats: a scalar, not negative.

    ``mean`` m and ``log_variance`` v, both [batch, features]: ``½ Σ (e^v + m² - 1 - v)``, summed over features, mean
    over the batch. Raises ``ValueError`` if shapes differ.

    >>> ops.standard_normal_kl(torch.zeros(1, 3), torch.zeros(1, 3))
    tensor(0.)
    >>> ops.standard_normal_kl(torch.tensor([[2.0, 0.0]]), torch.zeros(1, 2))
    tensor(2.)
    """
    require_same_shape(mean, log_variance, "mean and log variance")
    return 0.5 * (log_variance.exp() + mean.square() - 1 - log_variance).flatten(1).sum(1).mean()
