"""Maps as tokens and back."""

from __future__ import annotations

import torch

from kdrun import ops


def test_maps_and_tokens() -> None:
    maps = torch.arange(32.0).reshape(1, 2, 4, 4)
    assert ops.global_average_pool(maps).tolist() == [[7.5, 23.5]]
    assert ops.flatten(maps).shape == (1, 32)
    tokens = ops.tokens_from_map(maps, grid=2)
    assert tokens.shape == (1, 4, 2)
    assert tokens[0, 1].tolist() == [4.5, 20.5]
    assert ops.tokens_from_map(maps, grid=8).shape == (1, 16, 2)
    assert ops.resize_maps(maps, torch.zeros(1, 9, 2, 8)).shape == (1, 2, 2, 4)
    assert ops.concatenate(maps, maps).shape == (1, 4, 4, 4)
    assert ops.stack(maps, maps).shape == (2, 1, 2, 4, 4)
    assert not ops.detach(maps.requires_grad_()).requires_grad
