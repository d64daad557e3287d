"""Plain statistics of a quantity over the rows of an evaluation."""

from __future__ import annotations

import torch
from torch import Tensor

from kdrun.registry import metric

__all__ = ["group_means", "maximum", "mean_value", "median", "minimum", "standard_deviation", "weighted_mean"]


@metric
def mean_value(values: Tensor) -> float:
    """Mean over all elements."""
    return values.double().mean().item()


@metric
def weighted_mean(values: Tensor, weights: Tensor) -> float:
    """Mean of ``values`` with ``weights`` (not negative) of the same shape; NaN if all weights are 0."""
    weights = weights.double()
    return ((values.double() * weights).sum() / weights.sum()).item()


@metric
def median(values: Tensor) -> float:
    """Median over all elements (the mean of the two middle ones where their number is even)."""
    return values.double().quantile(0.5).item()


@metric
def minimum(values: Tensor) -> float:
    """The smallest element."""
    return values.min().item()


@metric
def maximum(values: Tensor) -> float:
    """The largest element."""
    return values.max().item()


@metric
def standard_deviation(values: Tensor) -> float:
    """Standard deviation over all elements, unbiased; 0 for a single one."""
    return values.double().std().item() if values.numel() > 1 else 0.0


@metric
def group_means(values: Tensor, groups: Tensor) -> dict[str, float]:
    """Mean of ``values`` [rows] in each group of ``groups`` [rows] (bool or int64), by the group's number."""
    keys = groups.long()
    return {str(int(key)): values[keys == key].double().mean().item() for key in torch.unique(keys)}
