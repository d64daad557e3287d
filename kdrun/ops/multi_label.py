"""Losses of predictions where several labels may hold of a row: each a sigmoid of its own.

No function detaches its inputs: a step graph says where gradients stop.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from kdrun.ops.checks import require_same_shape
from kdrun.ops.reductions import reduce_rows
from kdrun.registry import op
from kdrun.types import Fraction, Positive

__all__ = ["binary_cross_entropy", "binary_kl_divergence"]


@op
def binary_cross_entropy(
    logits: Tensor,
    targets: Tensor,
    weights: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    positive_weight: Positive = 1.0,
    label_smoothing: Fraction = 0.0,
    reduction: Literal["mean", "batch_mean", "weighted_mean", "sum", "none"] = "mean",
) -> Tensor:
    """Cross-entropy ``-(y log p + (1 - y) log(1 - p))`` of sigmoids with hard or soft labels, in nats.

    ``logits`` and ``targets`` [batch, labels, ...] of one shape, targets in [0, 1]; ``weights`` and ``mask`` (bool: the labels
    that are known) of that shape. ``positive_weight`` multiplies the first term, for labels that seldom hold; ``label_smoothing``
    ε makes targets ``(1 - ε) y + ε / 2``. A scalar: ``mean`` over the elements that count, ``batch_mean`` over rows of their sum,
    ``weighted_mean`` by the sum of weights; ``none`` keeps all. Raises ``ValueError`` if shapes differ.

    >>> logits = torch.tensor([[0.0, 2.0]])
    >>> ops.binary_cross_entropy(logits, torch.tensor([[1.0, 1.0]]), reduction="none")  # ln 2, and less where p is higher
    tensor([[0.6931, 0.1269]])
    >>> ops.binary_cross_entropy(logits, torch.tensor([[1.0, 1.0]]), mask=torch.tensor([[True, False]]))
    tensor(0.6931)
    """
    require_same_shape(logits, targets, "logits and targets")
    targets = targets.to(logits.dtype)
    if label_smoothing:
        targets = (1 - label_smoothing) * targets + label_smoothing / 2
    positive, negative = -F.logsigmoid(logits), -F.logsigmoid(-logits)
    return reduce_rows(positive_weight * targets * positive + (1 - targets) * negative, reduction, weights, mask)


@op
def binary_kl_divergence(
    student: Tensor,
    teacher: Tensor,
    weights: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    temperature: Positive = 1.0,
    squared_temperature: bool = False,
    reduction: Literal["mean", "batch_mean", "weighted_mean", "sum", "none"] = "batch_mean",
) -> Tensor:
    """KL(teacher ‖ student) of a Bernoulli variable a label (Yang et al., 2023): logits as sigmoids, label by label.

    ``p log(p / q) + (1 - p) log((1 - p) / (1 - q))`` in nats, with p and q the sigmoids of ``teacher / T`` and ``student / T``; T
    is ``temperature``. ``student`` and ``teacher`` [batch, labels, ...] of one shape; ``weights``, ``mask`` and reductions as in
    ``binary_cross_entropy``. With ``squared_temperature`` it is multiplied by T², which keeps gradients of one size. Not
    negative, 0 where both agree. Raises ``ValueError`` if shapes differ.

    >>> ops.binary_kl_divergence(torch.tensor([[0.0, 1.0]]), torch.tensor([[4.0, 1.0]]))  # ln 2 - H(sigmoid 4)
    tensor(0.6031)
    """
    require_same_shape(student, teacher)
    student, teacher = student / temperature, teacher / temperature
    p = teacher.sigmoid()
    yes = F.logsigmoid(teacher) - F.logsigmoid(student)
    no = F.logsigmoid(-teacher) - F.logsigmoid(-student)
    divergence = p * yes + (1 - p) * no
    scale = temperature**2 if squared_temperature else 1.0
    return scale * reduce_rows(divergence, reduction, weights, mask)
