"""Taps of inner modules: ends, starts, patches, tokens as maps."""

from __future__ import annotations

import pytest
import torch

from kdrun.data.dataset import Column
from kdrun.errors import InputError
from kdrun.grammar.nodes import Ref
from kdrun.grammar.steps import parse_step
from kdrun.models.building import build, resolve
from kdrun.models.layouts import View, grids, tokens_as_map
from kdrun.models.taps import Detour, tap
from kdrun.step.compiler import Compiler
from kdrun.step.layout import Bindings
from kdrun.step.supply import Supply
from kdrun.step.trace import trace
from support.tensors import generator

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
    maps = tokens_as_map(tokens, [(2, 2)])
    assert maps.shape == (2, 3, 2, 2)
    assert torch.equal(maps[1, :, 0, 1], tokens[1, 2])
    registers = torch.randn(2, 5 + 14 * 14, 3)
    assert torch.equal(tokens_as_map(registers, [(14, 14)])[:, :, 0, 0], registers[:, 5])
    with pytest.raises(InputError, match="reads tokens"):
        tokens_as_map(torch.zeros(2, 3, 4, 4), [(2, 2)])


def test_tokens_are_a_map_of_the_image_s_shape_or_none() -> None:
    """Patches of 16 pixels, 7 rows of 14, behind a class token: nearly a square of 9 or 10, but no such map."""
    tokens = torch.randn(2, 1 + 7 * 14, 3)
    maps = tokens_as_map(tokens, grids((112, 224)))
    assert maps.shape == (2, 3, 7, 14)
    assert torch.equal(maps[:, :, 2, 5], tokens[:, 1 + 2 * 14 + 5])
    assert torch.equal(tokens_as_map(tokens, grids((112, 224), patches=(16, 16))), maps)
    for image in ((224, 224), (160, 160)):
        with pytest.raises(InputError, match="the patches of a grid, behind 5 other tokens at most; got 99 tokens"):
            tokens_as_map(tokens, grids(image, stride=(16, 16)))
    with pytest.raises(InputError, match="got 99 tokens, the grid is unknown"):
        tokens_as_map(tokens, grids(None))
    wide = torch.randn(2, 2 * 8, 3)  # as many as of a square of 4
    assert torch.equal(tokens_as_map(wide, grids((16, 64)))[:, :, 1, 3], wide[:, 11])


def test_the_grid_of_a_later_stage_is_that_of_the_patches_pooled() -> None:
    pooled = torch.randn(2, 1 + 4 * 8, 3)
    assert tokens_as_map(pooled, grids((128, 256), patches=(16, 16))).shape == (2, 3, 4, 8)
    with pytest.raises(InputError, match="the grid is 8×16"):
        tokens_as_map(torch.randn(2, 1 + 4 * 4, 3), grids((128, 256), patches=(16, 16)))
    assert grids((30, 30), stride=(16, 16)) == [(2, 2), (1, 1)]  # with borders padded, and without


def test_a_view_turns_what_a_module_gives() -> None:
    last = torch.randn(2, 4, 5, 3)
    assert torch.equal(View("map", stride=(8, 8), channels_last=True).of(last, (32, 40))[1, :, 2, 4], last[1, 2, 4])
    assert torch.equal(View("tokens", channels_last=True).of(last, None)[:, 2 * 5 + 4], last[:, 2, 4])
    pixel = torch.randn(2, 3, 1, 1)
    assert torch.equal(View("row").of(pixel, None), pixel[:, :, 0, 0])
    assert torch.equal(View("map", item=1, stride=(8, 8)).of((None, pixel), (8, 8)), pixel)
    with pytest.raises(InputError, match="what a classifier reads or gives is"):
        View("row").of(last, None)
    with pytest.raises(InputError, match="reads a tensor, got dict"):
        View("map").of({}, None)


def test_a_map_of_a_library_model_has_the_grid_of_its_patches() -> None:
    timm = pytest.importorskip("timm")
    model = timm.create_model("vit_tiny_patch16_224", img_size=(32, 96), depth=1, num_classes=3).eval()
    image = torch.randn(2, 3, 32, 96, generator=generator(0))
    slot = tap(model, "blocks.0:map")
    model(image)
    found = slot.take()
    tokens = model.forward_intermediates(image, norm=False, intermediates_only=True)[0]  # [batch, dim, rows, columns]
    assert found.shape == (2, 192, 2, 6)
    torch.testing.assert_close(found, tokens)
    assert torch.equal(Detour(model, [], "blocks.0:map", key="k").run(model, [image], {}), found)


def resnet_step(taps: dict, **call):
    nodes = {"s": {"call": "student", "from": ["batch.image"], "taps": taps, **call}}
    step = parse_step({"nodes": nodes}, key="step")
    columns = {"data": {"image": Column((3, 32, 32))}}
    spec = {"model": "timm", "name": "resnet18", "num_classes": 3, "in_channels": 3}
    return step, spec, trace(step, specs={"student": spec}, tensors={}, columns=columns, batch_size=2, sizes={})


def tapped(taps: dict, **call) -> torch.Tensor:
    """What the first tap gives when the step runs on an image."""
    step, spec, found = resnet_step(taps, **call)
    network = build(resolve(spec, {}), seed=(0,)).eval()
    supply = Supply(step, Bindings({"student": network}), torch.Generator(), found.outputs, copied=found.copied)
    compiler = Compiler(supply)
    instructions, (register,) = compiler.function([Ref("s", (next(iter(taps)),))])
    r = compiler.layout.template()
    r[compiler.layout.columns[0][0]] = torch.randn(2, 3, 32, 32, generator=generator(0))
    with torch.no_grad():
        for function, inputs, out in instructions:
            r[out] = function(*[r[i] for i in inputs])
    return r[register]


def test_a_tap_is_the_value_there_whatever_is_done_to_it_afterwards() -> None:
    """Of timm's ResNet-18, an activation works in place behind every normalisation."""
    assert (tapped({"pre": "layer1.0.bn1"}) < 0).any()
    assert (tapped({"pre": "layer1.0.act1:input"}) < 0).any()
    assert (tapped({"post": "layer1.0.act1"}) >= 0).all()


def test_only_what_is_changed_in_place_is_copied() -> None:
    _, _, found = resnet_step({"pre": "layer1.0.bn1", "map": "layer1"})
    assert found.copied == {"s": {"pre"}}


def test_a_module_that_runs_twice_in_a_call_has_no_tap() -> None:
    step = {"s": {"call": "student", "from": ["batch.image"], "taps": {"act": "layer1.0.relu"}}}
    with pytest.raises(InputError, match=r"'layer1\.0\.relu' runs 2 times in one call"):
        trace(
            parse_step({"nodes": step}, key="step"),
            specs={"student": {"model": "torchvision", "name": "resnet18", "num_classes": 3}},
            tensors={},
            columns={"data": {"image": Column((3, 32, 32))}},
            batch_size=2,
            sizes={"in_channels": 3},
        )


def test_two_calls_of_one_model_have_a_tap_each() -> None:
    call = {"call": "student", "from": ["batch.image"], "taps": {"map": "map_1"}}
    nodes = {"a": call, "b": call, "both": {"op": "mean_squared_error", "from": ["a.map", "b.map"]}}
    specs = {"student": {"model": "cnn", "channels": [4, 6], "num_classes": 3, "in_channels": 3, "image_size": 8}}
    columns = {"data": {"image": Column((3, 8, 8))}}
    found = trace(
        parse_step({"nodes": nodes}, key="step"), specs=specs, tensors={}, columns=columns, batch_size=2, sizes={}
    )
    assert found.shapes["both"] == []
