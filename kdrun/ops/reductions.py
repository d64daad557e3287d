"""How the losses of rows become one number."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["reduce_rows"]


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
