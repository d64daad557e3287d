"""Models that tag words."""

from __future__ import annotations

import pytest
import torch

from kdrun.models.building import build


def test_recurrent_tagger_does_not_see_padding_and_reads_both_ways() -> None:
    model = build({"model": "recurrent_tagger", "hidden": 8, "units": 8, "vector": 4, "num_classes": 3}, seed=(0, "w"))
    x = torch.randn(2, 5, 4)
    longer = torch.cat([x, torch.zeros(2, 3, 4)], dim=1)
    assert torch.allclose(model(longer)[:, :5], model(x), atol=1e-6)
    changed = x.clone()
    changed[:, 4] += 1
    assert not torch.allclose(model(changed)[:, 0], model(x)[:, 0])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = model(x).float()
    assert torch.allclose(mixed, model(x), atol=0.05)
    twin = {name: p + 0.1 for name, p in model.named_parameters()}
    assert not torch.allclose(torch.func.functional_call(model, twin, (x,)), model(x))


def test_window_tagger_does_not_see_padding_and_reads_so_many_words_to_either_side() -> None:
    spec = {"model": "window_tagger", "hidden": 8, "depth": 2, "reach": 1, "vector": 4, "num_classes": 3}
    model = build(spec, seed=(0, "w"))
    x = torch.randn(2, 7, 4)
    longer = torch.cat([x, torch.zeros(2, 3, 4)], dim=1)
    assert torch.allclose(model(longer)[:, :7], model(x), atol=1e-6)
    changed = x.clone()
    changed[:, 3] += 1
    moved = (model(changed) != model(x)).any(-1).any(0)
    assert moved.tolist() == [False, True, True, True, True, True, False]


def test_adapters_start_near_the_frozen_encoder_and_alone_are_trained() -> None:
    pytest.importorskip("transformers")
    small = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 48,
        "vocab_size": 50,
    }
    model = build({"model": "adapter_tagger", "name": "bert", "config": small, "num_classes": 3}, seed=(0, "w")).eval()
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    assert len(trained) == 2 * 4 + 2
    assert all(".output.dense.1." in n or n.startswith("head.") for n in trained)
    tokens = torch.tensor([[5, 6, 7, 0], [8, 9, 10, 11]])
    cut = model(tokens[:1, :3])
    assert torch.allclose(model(tokens)[0, :3], cut[0], atol=1e-5)
    for layer in model.encoder.encoder.layer:
        torch.nn.init.zeros_(layer.output.dense[1].up.weight)
    plain = model(tokens)
    for layer in model.encoder.encoder.layer:
        layer.output.dense = layer.output.dense[0]
    assert torch.allclose(model(tokens), plain)
