"""Low-rank adapters of models: nothing at first, merged at last."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kdrun.errors import InputError
from kdrun.models.building import build
from kdrun.models.low_rank import adapted_layers, insert_adapters
from kdrun.parts.adapters import low_rank_adapter, merged_adapter
from support.models import LINEAR_LAYERS, nano


def tokens() -> torch.Tensor:
    return torch.randint(37, (4, 10), generator=torch.Generator().manual_seed(0))


def importances(model: nn.Module, seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {n: torch.rand(p.shape, generator=generator) for n, p in model.named_parameters()}


@pytest.mark.parametrize("weighted", [True, False])
def test_adapters_change_nothing_at_first(weighted) -> None:
    model = nano()
    before = model(tokens())
    tables = [importances(model, i) for i in range(2)] if weighted else []
    adapted = low_rank_adapter(model, *tables, rank=4, alpha=8.0, generator=torch.Generator())
    assert torch.allclose(adapted(tokens()), before, atol=1e-4)
    layer = adapted.blocks[0].feed[0]
    assert bool(layer.lora_B.abs().sum() > 0) == weighted
    if weighted:
        assert not torch.allclose(layer.weight, nano().blocks[0].feed[0].weight, atol=1e-3)
    trained = {n for n, p in adapted.named_parameters() if p.requires_grad}
    assert trained == {f"blocks.{i}.{m}.lora_{f}" for i in range(2) for m in LINEAR_LAYERS for f in "AB"}


def test_an_adapted_model_returns_from_its_specification_and_merges() -> None:
    adapted = low_rank_adapter(nano(), rank=2, alpha=2.0, generator=torch.Generator().manual_seed(1))
    for layer in adapted_layers(adapted).values():
        nn.init.normal_(layer.lora_B)
    again = build(dict(adapted.kdrun_spec), seed=(9,))
    again.load_state_dict(adapted.state_dict())
    said = adapted(tokens())
    assert torch.equal(again(tokens()), said)
    assert (said - nano()(tokens())).abs().max() > 0.1
    merged = merged_adapter(again)
    plain = build(dict(merged.kdrun_spec), seed=(9,))
    plain.load_state_dict(merged.state_dict())
    assert torch.allclose(plain(tokens()), said, atol=1e-4)
    assert not adapted_layers(merged)
    with pytest.raises(InputError, match="no adapters to merge"):
        merged_adapter(plain)


def test_the_adapters_first_factor_follows_the_generator() -> None:
    first, same, other = (
        low_rank_adapter(nano(), generator=torch.Generator().manual_seed(s)).blocks[0].feed[0].lora_A for s in (1, 1, 2)
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_adapters_go_where_they_are_asked_to() -> None:
    chosen = insert_adapters(nano(), ["feed.0", "blocks.1.attention.project_in"], rank=2, alpha=4.0)
    assert set(adapted_layers(chosen)) == {"blocks.0.feed.0", "blocks.1.feed.0", "blocks.1.attention.project_in"}
    with pytest.raises(InputError, match="is called 'fed.0'"):
        insert_adapters(nano(), ["fed.0"], rank=2, alpha=4.0)
    with pytest.raises(InputError, match="no adapter of rank 64"):
        insert_adapters(nano(), None, rank=64, alpha=4.0)
    with pytest.raises(InputError, match="no importance of the shape"):
        low_rank_adapter(nano(), {}, generator=torch.Generator())


def test_models_of_transformers_take_adapters_in_all_linear_layers_but_the_head() -> None:
    pytest.importorskip("transformers")
    config = {"vocab_size": 20, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    spec = {"model": "transformers", "name": "phi", "task": "causal_lm", "pretrained": False, "num_classes": 2}
    model = build({**spec, "config": {**config, "num_attention_heads": 2}}, seed=(0,)).eval()
    ids = torch.randint(20, (2, 6))
    before = model(ids).logits
    adapted = low_rank_adapter(model, importances(model, 0), rank=2, alpha=4.0, generator=torch.Generator())
    assert {name.rpartition(".")[2] for name in adapted_layers(adapted)} == PHI
    assert torch.allclose(adapted(ids).logits, before, atol=1e-4)


PHI = {"q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2"}
