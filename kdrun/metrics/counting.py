"""Metrics of counts that are sums of density maps."""

from __future__ import annotations

from torch import Tensor

from kdrun.registry import metric

__all__ = ["count_mae", "count_rmse"]


def _errors(logits: Tensor, count: Tensor) -> Tensor:
    return logits.double().flatten(1).sum(1) - count.double()


@metric(best="lowest")
def count_mae(logits: Tensor, count: Tensor) -> float:
    """Mean absolute error of counts that are sums of density maps; 0 or above.

    ``logits`` [rows, 1, h, w], each summed up, against ``count`` [rows].

    >>> metrics.count_mae(torch.full((1, 1, 2, 2), 0.5), torch.tensor([5]))  # 2 instead of 5
    3.0
    """
    return _errors(logits, count).abs().mean().item()


@metric(best="lowest")
def count_rmse(logits: Tensor, count: Tensor) -> float:
    """Root of the mean squared error of counts that are sums of density maps; often printed as "MSE"; 0 or above.

    ``logits`` [rows, 1, h, w], each summed up, against ``count`` [rows].

    >>> metrics.count_rmse(torch.full((1, 1, 2, 2), 0.5), torch.tensor([5]))  # 2 instead of 5
    3.0
    """
    return _errors(logits, count).square().mean().sqrt().item()
