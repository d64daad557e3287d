"""Taps of inner modules: ends, starts, patches, tokens as maps."""

from __future__ import annotations

import pytest
import torch

from kdrun.errors import InputError
from kdrun.models.building import build
from kdrun.models.taps import Detour, tap, tokens_as_map

SPEC = {"model": "cnn", "channels": [4, 8], "kernel_size": 3, "num_classes": 3, "in_channels": 1, "image_size": 8}


def test_a_call_may_end_at_an_inner_module_and_start_behind_one() -> None:
    module = build(SPEC, seed=(0,)).eval()
    image = torch.randn(5, 1, 8, 8)
    slot = tap(module, "map_1")
    expected = module(image)
    inner = slot.take()
    assert torch.equal(Detour(module, [], "map_1", key="k").run(module, [image], {}), inner)
    patched = Detour(module, ["map_1"], None, key="k")
    assert torch.equal(patched.run(module, [torch.zeros_like(image), inner], {}), expected)
    assert torch.equal(module(image), expected), "outside a partial forward the module is itself"
    hidden = inner.detach().clone().requires_grad_()
    patched.run(module, [image, hidden], {}).sum().backward()
    assert hidden.grad is not None
    assert hidden.grad.abs().sum() > 0


def test_patching_an_input_and_ending_at_one() -> None:
    module = build(SPEC, seed=(0,)).eval()
    image, feature = torch.randn(2, 1, 8, 8), torch.randn(2, 8)
    assert torch.equal(
        Detour(module, ["feature"], None, key="k").run(module, [image, feature], {}), module.head(feature)
    )
    assert Detour(module, [], "feature", key="k").run(module, [image], {}).shape == (2, 8)
    with pytest.raises(InputError, match="has no module 'map_9'"):
        Detour(module, ["map_9"], None, key="k")


def test_tokens_as_map_leaves_class_tokens_out() -> None:
    tokens = torch.arange(2 * 5 * 3, dtype=torch.float32).view(2, 5, 3)
    maps = tokens_as_map(tokens)
    assert maps.shape == (2, 3, 2, 2)
    assert torch.equal(maps[1, :, 0, 1], tokens[1, 2])
    with pytest.raises(InputError, match="reads tokens"):
        tokens_as_map(torch.zeros(2, 3, 4, 4))
