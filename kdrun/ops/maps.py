"""Pooling of feature maps."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from kdrun.registry import op
from kdrun.types import Count

__all__ = ["global_average_pool", "resize_maps", "tokens_from_map"]


@op
def global_average_pool(maps: Tensor) -> Tensor:
    """Mean over all axes after the second: [batch, channels, ...] to [batch, channels]."""
    return maps.flatten(2).mean(2)


@op
def resize_maps(maps: Tensor, like: Tensor) -> Tensor:
    """Average-pool maps [batch, channels, h, w] to the size of ``like`` [batch, any, h', w'] where that is smaller."""
    size = (min(maps.shape[2], like.shape[2]), min(maps.shape[3], like.shape[3]))
    return maps if maps.shape[2:] == size else F.adaptive_avg_pool2d(maps, size)


@op
def tokens_from_map(maps: Tensor, *, grid: Count = 4) -> Tensor:
    """Average-pool maps [batch, channels, h, w] to ``grid``² cells as tokens [batch, cells, channels].

    A map that is no larger than the grid is used as it is.
    """
    size = (min(grid, maps.shape[2]), min(grid, maps.shape[3]))
    return F.adaptive_avg_pool2d(maps, size).flatten(2).transpose(1, 2)
