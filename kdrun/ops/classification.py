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
    """Cross-entropy ``-Σ y log p`` of predictions with hard or soft labels, in nats.

    ``logits`` [batch, ..., classes] (``dim`` says which axis holds the classes: 1 for maps [batch, classes, h, w]);
    ``labels`` [batch, ...] (int64; rows of ``ignore_index`` do not count) or soft targets in the shape of ``logits``;
    ``weights`` and ``mask`` (bool) [batch, ...]. ``label_smoothing`` ε mixes the target with the uniform one: ``(1 - ε)
    y + ε / classes``.

    A scalar: ``mean`` divides the sum over rows by the number of rows that count, ``batch_mean`` by the batch,
    ``weighted_mean`` by the sum of weights; ``none`` keeps the rows, [batch, ...]. ``given`` says whether the input
    holds logits or probabilities; to the latter ``eps`` is added inside the logarithm.

    >>> logits = torch.tensor([[0.0, 0.0], [0.0, 2.0]])
    >>> ops.cross_entropy(logits, torch.tensor([0, 1]), reduction="none")  # ln 2, and less where the label is likelier
    tensor([0.6931, 0.1269])
    >>> ops.cross_entropy(logits, torch.tensor([0, -100]))  # the second row does not count
    tensor(0.6931)
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
    """Whether the most likely class is the label: bool [batch].

    ``logits`` [batch, classes], ``labels`` [batch] (int64).

    >>> ops.is_correct(torch.tensor([[2.0, 1.0], [2.0, 1.0]]), torch.tensor([0, 1]))
    tensor([ True, False])
    """
    return logits.argmax(1) == labels


@op
def max_margin_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Batch mean of the largest other logit minus the target's (Yuan et al., 2023): a scalar of any sign.

    ``logits`` [batch, classes], ``labels`` [batch] (int64), the classes that an attack aims at: the loss is below 0
    where the target is ahead, and has no bound there.

    >>> ops.max_margin_loss(torch.tensor([[1.0, 5.0, 2.0]]), torch.tensor([1]))
    tensor(-3.)
    >>> ops.max_margin_loss(torch.tensor([[1.0, 5.0, 2.0]]), torch.tensor([2]))
    tensor(3.)
    """
    wanted = indicator(labels, logits.shape[-1])
    other = logits.masked_fill(wanted, float("-inf")).amax(-1)
    return (other - logits.gather(-1, labels[:, None]).squeeze(-1)).mean()


@op
def teacher_margin(logits: Tensor, labels: Tensor) -> Tensor:
    """True-class probability minus the mean of the others', not below 0: [batch], in [0, 1].

    ``max(0, p_y - (1 - p_y) / (classes - 1))`` of ``logits`` [batch, classes] and ``labels`` [batch] (int64): 0 for a
    uniform or wrong teacher, near 1 for a sure and right one.

    >>> ops.teacher_margin(torch.tensor([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0]]), torch.tensor([0, 0, 0]))
    tensor([0.0000, 0.9866, 0.0000])
    """
    true = logits.softmax(1).gather(1, labels.unsqueeze(1)).squeeze(1)
    return (true - (1 - true) / (logits.shape[1] - 1)).clamp_min(0)


@op
def classifier_gradient(logits: Tensor, labels: Tensor, feature: Tensor) -> Tensor:
    """Gradient of the mean cross-entropy with respect to the weight of a linear head: [classes, features].

    ``(softmax(logits) - onehot)ᵀ feature / batch`` of ``logits`` [batch, classes], ``labels`` [batch] (int64), and what
    the head reads, ``feature`` [batch, features]: the weights of a class activation map (Dong, Li & Wei, 2023).

    >>> ops.classifier_gradient(torch.zeros(1, 2), torch.tensor([0]), torch.tensor([[1.0, 4.0]]))
    tensor([[-0.5000, -2.0000],
            [ 0.5000,  2.0000]])
    """
    error = logits.softmax(-1) - indicator(labels, logits.shape[-1]).to(logits.dtype)
    return error.T @ feature / len(logits)
