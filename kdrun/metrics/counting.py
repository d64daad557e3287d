"""Metrics of counts that are sums of density maps."""

from __future__ import annotations

from torch import Tensor

from kdrun.registry import metric

__all__ = ["count_mae", "count_rmse"]


def _errors(logits: Tensor, count: Tensor) -> Tensor:
    return logits.double().flatten(1).sum(1) - count.double()


@metric
def count_mae(logits: Tensor, count: Tensor) -> float:
    """Mean absolute error of the sums of density maps [rows, 1, h, w] against ``count`` [rows]."""
    return _errors(logits, count).abs().mean().item()


@metric
def count_rmse(logits: Tensor, count: Tensor) -> float:
    """Root of the mean squared error of the sums of density maps [rows, 1, h, w]; often printed as "MSE"."""
    return _errors(logits, count).square().mean().sqrt().item()
