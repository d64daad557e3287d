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


def test_modulated_maps_with_nothing_to_say_are_the_maps_and_a_mask_bounds_what_is_said() -> None:
    maps, gamma, beta = torch.randn(2, 3, 4, 4), torch.randn(2, 3), torch.randn(2, 3)
    assert torch.equal(ops.modulated_maps(maps, torch.zeros(2, 3), torch.zeros(2, 3)), maps)
    mask = torch.zeros(2, 1, 4, 4)
    mask[:, :, :2] = 1.0
    found = ops.modulated_maps(maps, gamma, beta, mask)
    assert torch.equal(found[:, :, 2:], maps[:, :, 2:])
    assert torch.allclose(found[:, :, :2], ops.modulated_maps(maps, gamma, beta)[:, :, :2])
    normal = (maps - maps.mean((2, 3), keepdim=True)) / maps.std((2, 3), keepdim=True, correction=0)
    moved = ops.modulated_maps(normal, gamma, beta)  # mean β and deviation |1 + γ| of each channel
    assert torch.allclose(moved.mean((2, 3)), beta, atol=1e-5)
    assert torch.allclose(moved.std((2, 3), correction=0), (1 + gamma).abs(), atol=1e-5)
