"""Pooling and modulation of feature maps."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from kdrun.registry import op
from kdrun.types import Count

__all__ = ["global_average_pool", "modulated_maps", "resize_maps", "tokens_from_map"]


@op
def global_average_pool(maps: Tensor) -> Tensor:
    """Mean over all axes after the second: maps [batch, channels, ...] to [batch, channels].

    >>> ops.global_average_pool(torch.tensor([[[[1.0, 3.0], [5.0, 7.0]], [[0.0, 0.0], [0.0, 4.0]]]]))
    tensor([[4., 1.]])
    """
    return maps.flatten(2).mean(2)


@op
def modulated_maps(maps: Tensor, gamma: Tensor, beta: Tensor, mask: Tensor | None = None) -> Tensor:
    """``(1 + m γ) x + m β``: maps scaled and shifted channel by channel, where a mask lets it (Liao et al., 2022).

    ``maps`` x [batch, channels, h, w], of no mean and unit variance where it is a conditional batch norm; ``gamma`` and ``beta``
    [batch, channels]; ``mask`` m [batch, 1, h, w] in [0, 1], 1 everywhere without one (feature-wise modulation: Perez et al., 2018).

    >>> maps, half = torch.ones(1, 1, 1, 2), torch.tensor([[[[0.0, 1.0]]]])
    >>> ops.modulated_maps(maps, torch.tensor([[2.0]]), torch.tensor([[0.5]]), half)
    tensor([[[[1.0000, 3.5000]]]])
    """
    scale, shift = gamma[:, :, None, None], beta[:, :, None, None]
    if mask is not None:
        scale, shift = mask * scale, mask * shift
    return (1 + scale) * maps + shift


@op
def resize_maps(maps: Tensor, like: Tensor) -> Tensor:
    """Average-pool maps to the size of others where that is smaller: [batch, channels, min(h, h'), min(w, w')].

    ``maps`` [batch, channels, h, w], ``like`` [any, any, h', w']. Both maps of a pair come to one size when each is
    resized like the other.

    >>> ops.resize_maps(torch.tensor([[[[1.0, 3.0], [5.0, 7.0]]]]), torch.zeros(1, 8, 1, 1))
    tensor([[[[4.]]]])
    """
    size = (min(maps.shape[2], like.shape[2]), min(maps.shape[3], like.shape[3]))
    return maps if maps.shape[2:] == size else F.adaptive_avg_pool2d(maps, size)


@op
def tokens_from_map(maps: Tensor, *, grid: Count = 4) -> Tensor:
    """Average-pool maps to a grid of cells, taken as tokens: [batch, channels, h, w] to [batch, cells, channels].

    ``grid``² cells, in rows; an axis that is no longer than the grid is left as it is.

    >>> ops.tokens_from_map(torch.zeros(2, 64, 8, 8), grid=4).shape
    torch.Size([2, 16, 64])
    >>> ops.tokens_from_map(torch.tensor([[[[1.0, 3.0], [5.0, 7.0]]]]), grid=1)
    tensor([[[4.]]])
    """
    size = (min(grid, maps.shape[2]), min(grid, maps.shape[3]))
    return F.adaptive_avg_pool2d(maps, size).flatten(2).transpose(1, 2)
