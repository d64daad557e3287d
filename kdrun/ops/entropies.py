"""Entropies of predictions."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from kdrun.ops.reductions import reduce_rows
from kdrun.registry import op
from kdrun.types import NonNegative, Positive

__all__ = ["information_maximization", "prediction_entropy"]


def _entropy(probabilities: Tensor, eps: float) -> Tensor:
    inside = probabilities + eps if eps else probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny)
    return -(probabilities * inside.log()).sum(-1)


@op
def prediction_entropy(
    logits: Tensor,
    mask: Tensor | None = None,
    *,
    temperature: Positive = 1.0,
    eps: NonNegative = 0.0,
    given: Literal["logits", "probabilities"] = "logits",
    reduction: Literal["mean", "batch_mean", "sum", "none"] = "mean",
) -> Tensor:
    """Entropy of predictions in nats, ``-Σ p log(p + eps)``, from 0 (sure) to ln classes (uniform).

    ``logits`` [batch, ..., classes], softened by ``temperature``, or probabilities where ``given`` says so; ``mask``
    [batch, ...] (bool) chooses the rows that count. Batch mean by default; ``none`` keeps the rows.

    >>> ops.prediction_entropy(torch.tensor([[0.0, 0.0], [4.0, 0.0]]), reduction="none")  # ln 2, and less
    tensor([0.6931, 0.0901])
    """
    probabilities = (logits / temperature).softmax(-1) if given == "logits" else logits
    return reduce_rows(_entropy(probabilities, eps), reduction, mask=mask)


@op
def information_maximization(
    logits: Tensor,
    *,
    entropy_weight: NonNegative = 1.0,
    diversity_weight: NonNegative = 1.0,
    temperature: Positive = 1.0,
    eps: NonNegative = 0.0,
    given: Literal["logits", "probabilities"] = "logits",
) -> Tensor:
    """Mean entropy minus entropy of the mean (Krause et al., 2010; Liang et al., 2020).

    ``w_e · mean H(p) - w_d · H(mean p)``, in nats: least when predictions are sure and varied. ``logits`` [batch, ...,
    classes], or probabilities where ``given`` says so; all axes but the last are averaged over. At least ``-ln
    classes`` with unit weights. ``eps`` is added inside the logarithms.

    >>> ops.information_maximization(torch.tensor([[99.0, 0.0], [0.0, 99.0]]))  # sure and varied: -ln 2
    tensor(-0.6931)
    >>> ops.information_maximization(torch.tensor([[99.0, 0.0], [99.0, 0.0]]))  # sure, but of one class
    tensor(0.)
    """
    probabilities = (logits / temperature).softmax(-1) if given == "logits" else logits
    flat = probabilities.reshape(-1, probabilities.shape[-1])
    return entropy_weight * _entropy(flat, eps).mean() - diversity_weight * _entropy(flat.mean(0), eps)
