"""Soft prompts before the words of encoders."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from kdrun.errors import InputError
from kdrun.models.small_transformers import EncoderTransformer
from kdrun.models.soft_prompts import prefix_prompt
from support.models import make

BASE = {"model": "encoder_transformer", "vocabulary": 20, "num_classes": 3, "padding": 0}
TOKENS = torch.tensor([[5, 7, 2, 9], [3, 4, 0, 0]])


def bert(**more: Any) -> dict[str, Any]:
    sizes = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 8,
        "vocab_size": 20,
    }
    return {
        "model": "transformers",
        "name": "bert",
        "task": "sequence_classification",
        "num_classes": 3,
        "config": {**sizes, **more},
    }


def same(prompted: torch.nn.Module, plain: torch.nn.Module) -> None:
    plain.load_state_dict({k: v for k, v in prompted.state_dict().items() if not k.startswith("prompt.")})


def test_what_nobody_attends_to_changes_nothing() -> None:
    network, plain = prefix_prompt(base=BASE, length=4).eval(), EncoderTransformer(vocabulary=20, num_classes=3).eval()
    same(network, plain)
    assert not torch.allclose(network(TOKENS), plain(TOKENS))
    for block in (*network.blocks, *plain.blocks):  # queries of 0: all keys weigh alike, those of the prompt, too
        torch.nn.init.zeros_(block.attention.project_in.weight[:48])
        torch.nn.init.zeros_(block.attention.project_in.bias[:48])
    network.prompt.table.data.view(4, 2, 2, 48)[:, :, 1] = 0.0  # values of 0
    for block in plain.blocks:  # four words of value 0 beside four real ones halve what attention gives
        block.attention.project_out.weight.data /= 2
    whole = TOKENS[:1]
    assert torch.allclose(network(whole), plain(whole), atol=1e-5)


def test_padding_is_hidden_and_the_prompt_is_not() -> None:
    network = prefix_prompt(base=BASE, length=4).eval()
    assert torch.allclose(network(TOKENS)[1:], network(TOKENS[1:, :2]), atol=1e-5)
    network.prompt.table.data += 1.0
    moved = network(TOKENS)
    network.prompt.table.data -= 1.0
    assert not torch.allclose(network(TOKENS), moved, atol=1e-4)


def test_only_the_prompt_and_what_is_named_train() -> None:
    network = prefix_prompt(base=BASE, length=4, trainable=["head"])
    network(TOKENS).sum().backward()
    trained = {name for name, p in network.named_parameters() if p.requires_grad}
    assert trained == {"head.weight", "head.bias", "prompt.table"}
    assert (network.prompt.table.grad.view(4, 2, 2, 48).abs().sum((0, 3)) > 0).all()  # keys and values of both layers
    assert all(p.grad is None for name, p in network.named_parameters() if name not in trained)


def test_entries_of_a_prompt_are_left_out_while_training_alone() -> None:
    network = prefix_prompt(base=BASE, length=4, dropout=0.5)
    assert not torch.equal(network(TOKENS), network(TOKENS))
    network.eval()
    assert torch.equal(network(TOKENS), network(TOKENS))


def test_a_causal_model_has_no_place_for_it() -> None:
    with pytest.raises(InputError, match="no layer of an encoder"):
        prefix_prompt(base={"model": "causal_transformer", "vocabulary": 20})


def test_bert_sees_the_same_prompt_as_a_cache_of_its_own_would_give() -> None:
    transformers = pytest.importorskip("transformers")
    network = make("prefix_prompt", base=bert(), length=3).eval()
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])

    class Before(transformers.cache_utils.Cache):
        def __init__(self) -> None:
            pass

        def update(self, key, value, layer, *others, **named):
            table = network.prompt.table.view(3, 2, 2, 2, 8)[:, layer]
            own = table.permute(1, 2, 0, 3)[:, None].expand(-1, len(key), -1, -1, -1)
            return torch.cat([own[0], key], 2), torch.cat([own[1], value], 2)

    plain = make(bert().pop("model"), **{k: v for k, v in bert().items() if k != "model"}).eval()
    same(network, plain)
    before = network(TOKENS, attention_mask=mask)
    wide = torch.cat([torch.ones(2, 3, dtype=torch.bool), mask.bool()], 1)[:, None, None]
    inner = plain.bert
    hidden = inner.embeddings(input_ids=TOKENS)
    for layer in inner.encoder.layer:
        found = layer.attention.self(hidden, attention_mask=wide.expand(-1, 1, 4, -1), cache=Before())[0]
        hidden = layer.output(layer.intermediate(mixed := layer.attention.output(found, hidden)), mixed)
    wanted = plain.classifier(inner.pooler(hidden))
    assert torch.allclose(before.logits if hasattr(before, "logits") else before, wanted, atol=1e-5)
    assert torch.allclose(network(TOKENS[1:, :2], attention_mask=mask[1:, :2]).logits, wanted[1:], atol=1e-5)
