"""Weights that several layers share: their own where they are adapted, one where they are called."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kdrun.models.building import build
from kdrun.models.low_rank import adapted_layers, insert_adapters, merge_adapters
from kdrun.parts.adapters import low_rank_adapter, merged_adapter
from support.language import GPT2

IDS = torch.randint(GPT2["vocab_size"], (3, 7), generator=torch.Generator().manual_seed(0))
SPECS = {
    "gpt2": {
        "model": "transformers",
        "name": "gpt2",
        "task": "causal_lm",
        "pretrained": False,
        "config": GPT2,
        "num_classes": 2,
    },
    "causal": {"model": "causal_transformer", "vocabulary": 71},
}
HEADS = {"gpt2": "lm_head", "causal": "head"}


def made(name: str, seed: int = 0) -> nn.Module:
    if name == "gpt2":
        pytest.importorskip("transformers")
    return build(SPECS[name], seed=(seed,)).eval()


def logits(model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        said = model(IDS)
    return said if isinstance(said, torch.Tensor) else said.logits


def strayed(model: nn.Module) -> nn.Module:
    """The model with adapters that say something."""
    for i, layer in enumerate(adapted_layers(model).values()):
        nn.init.normal_(layer.lora_B, generator=torch.Generator().manual_seed(i))
    return model


def again(model: nn.Module) -> nn.Module:
    """The model as it comes back from a store: by its specification and its weights."""
    found = build(dict(model.kdrun_spec), seed=(9,)).eval()
    found.load_state_dict(model.state_dict())
    return found


def test_layers_of_gpt2_take_adapters() -> None:
    """Each is ``x (W + (alpha / rank) (B A)ᵀ) + b``: transformers keep these weights as [in, out]."""
    plain, adapted = made("gpt2"), strayed(insert_adapters(made("gpt2"), None, rank=2, alpha=6.0)).eval()
    names = {
        f"transformer.h.{i}.{n}" for i in range(2) for n in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    }
    assert set(adapted_layers(adapted)) == names
    with torch.no_grad():
        for name, layer in adapted_layers(adapted).items():
            plain.get_submodule(name).weight += 3.0 * (layer.lora_B @ layer.lora_A).T
    said = logits(adapted)
    torch.testing.assert_close(said, logits(plain), atol=1e-4, rtol=1e-4)
    assert (said - logits(made("gpt2"))).abs().max() > 0.1
    torch.testing.assert_close(logits(merge_adapters(adapted)), said, atol=1e-4, rtol=1e-4)
    assert not adapted_layers(adapted)


def test_adapters_that_are_found_from_importances_split_the_weights_of_gpt2() -> None:
    model = made("gpt2")
    before = logits(model)
    importance = {
        n: torch.rand(p.shape, generator=torch.Generator().manual_seed(1)) for n, p in model.named_parameters()
    }
    adapted = low_rank_adapter(model, importance, rank=3, alpha=3.0, generator=torch.Generator())
    torch.testing.assert_close(logits(adapted), before, atol=1e-4, rtol=1e-4)
    layer = adapted.transformer.h[0].mlp.c_fc
    assert (layer.weight - made("gpt2").transformer.h[0].mlp.c_fc.weight).abs().max() > 1e-3


@pytest.mark.parametrize("name", SPECS)
def test_an_adapted_head_says_the_same_after_a_reload_and_when_it_is_merged(name) -> None:
    model = made(name)
    before = logits(model)
    head = HEADS[name]
    adapted = low_rank_adapter(model, modules=[head], rank=2, alpha=4.0, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(logits(adapted), before)
    said = logits(strayed(adapted))
    assert (said - before).abs().max() > 0.1
    torch.testing.assert_close(logits(again(adapted)), said)
    merged = merged_adapter(again(adapted))
    torch.testing.assert_close(logits(merged), said, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(logits(again(merged)), said, atol=1e-4, rtol=1e-4)
    embedding = next(p for n, p in merged.named_parameters() if "wte" in n or "embedding" in n)
    own = next(p for n, p in made(name).named_parameters() if "wte" in n or "embedding" in n)
    assert torch.equal(embedding, own)  # the embedding, whose weight the head had, is what it was
