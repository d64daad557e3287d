"""Transformers that predict sets."""

from __future__ import annotations

import pytest
import torch

from kdrun.errors import InputError
from kdrun.models.building import build
from support.scenes import split

SPEC = {
    "model": "set_prediction_transformer",
    "times": 5,
    "dim": 16,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "heads": 2,
    "hidden": 24,
    "queries": 6,
    "dropout": 0.0,
}


@pytest.mark.parametrize("content", ["place", "memory"])
def test_the_transformer_sees_a_set_and_not_what_fills_up(content) -> None:
    module = build({**SPEC, "query_content": content}, seed=(0,)).eval()
    rows = split(8).rows()["measurements"]
    first = module(rows)
    assert first["states"].shape == (8, 3, 6, 2)
    assert first["memory"].shape == (8, 48, 16)
    assert first["states"].abs().max() <= 10
    count = (rows[..., 2] >= 0).sum(1)
    enough = count >= 6
    order = torch.arange(48).expand(8, -1).clone()
    for row, n in zip(order, count.tolist(), strict=True):
        row[:n] = row[:n].flip(0)
    turned = module(rows.gather(1, order[..., None].expand(-1, -1, 3)))
    assert torch.allclose(first["estimates"][enough], turned["estimates"][enough], atol=1e-5)
    junk = torch.where(rows[..., 2:] < 0, torch.tensor([3.0, 3.0, 2.0]), rows)
    masked = module(junk, rows[..., 2] >= 0)
    assert torch.allclose(first["estimates"][enough], masked["estimates"][enough], atol=1e-5)
    alone = module(rows[:1])
    assert torch.allclose(alone["estimates"], first["estimates"][:1], atol=1e-5)
    with pytest.raises(InputError, match="6 queries"):
        module(rows[:, :5])


def test_references_carry_no_gradient() -> None:
    module = build(SPEC, seed=(0,))
    rows = split(4).rows()["measurements"]
    module(rows)["states"][:, -1].sum().backward()
    first, last = module.state_heads[0], module.state_heads[1]
    for head in (first, module.state_heads[-1]):  # their states enter later ones as detached references
        assert all(p.grad is None or not p.grad.any() for p in head.parameters())
    assert last[0].weight.grad.abs().sum() > 0
    assert module.encoder[0].attention.query.weight.grad.abs().sum() > 0
    assert module.time.weight.grad.abs().sum() > 0


def test_the_encoder_learns_through_queries_made_of_its_features() -> None:
    rows = split(4).rows()["measurements"]
    reached = {}
    for content in ("place", "memory"):
        module = build({**SPEC, "query_content": content}, seed=(0,))
        module(rows)["states"][:, -1].sum().backward()
        reached[content] = module.select[0].weight.grad
    assert reached["place"] is None or not reached["place"].any()
    assert reached["memory"].any()


def test_plans_and_compiled_networks_take_whole_sets_and_say_the_same() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    module = build(SPEC, seed=(0,)).eval()
    rows = split(4).rows()["measurements"][:, :20].clone()
    rows[:, 9:, 2] = -1  # nothing behind the ninth element
    lengths = []
    hook = module.encoder[0].register_forward_hook(lambda layer, inputs, output: lengths.append(output.shape[1]))
    found = module(rows)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        planned = module(mode.from_tensor(rows))
    hook.remove()
    assert lengths == [9, 20]
    assert {n: v.shape for n, v in planned.items()} == {n: v.shape for n, v in found.items()}
    whole = torch.compile(module, backend="eager", fullgraph=True)(rows)
    for name in ("estimates", "states", "existence"):
        assert torch.allclose(whole[name], found[name], atol=1e-5)
    assert not found["memory"][:, 9:].any()
