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
    """Entropy of predictions in nats; ``logits`` [batch, ..., classes], ``mask`` [batch, ...] (bool).

    ``-Σ p log(p + eps)``; ``given`` says whether the input holds logits or probabilities.
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
    """Mean entropy minus entropy of the mean (Krause et al., 2010; Liang et al., 2020): minimal when predictions are sure and varied.

    ``logits`` [batch, ..., classes]; all axes but the last are averaged over. At least ``-ln classes`` with unit
    weights. ``eps`` is added inside the logarithms.
    """
    probabilities = (logits / temperature).softmax(-1) if given == "logits" else logits
    flat = probabilities.reshape(-1, probabilities.shape[-1])
    return entropy_weight * _entropy(flat, eps).mean() - diversity_weight * _entropy(flat.mean(0), eps)
