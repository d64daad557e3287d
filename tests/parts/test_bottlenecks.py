"""Bottleneck adapters behind the blocks of models: nothing at first, put together by coefficients or attention, and read again."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from kdrun.errors import InputError
from kdrun.models.bottlenecks import adapter_sites
from kdrun.models.building import build
from kdrun.parts.bottlenecks import adapter_attention, averaged_adapters, bottleneck_adapters, scaled_adapters
from kdrun.parts.parameter_counts import changed_parameters, trainable_parameters
from support.models import make, nano
from support.tensors import generator

KINDS = {"vector": {}, "scalar": {"granularity": "scalar"}, "shared": {"shared": True}}


def tokens() -> torch.Tensor:
    return torch.randint(37, (4, 10), generator=generator())


def classifier(classes: int = 3) -> nn.Module:
    return make("encoder_transformer", vocabulary=37, num_classes=classes).eval()


def source(seed: int, classes: int = 3) -> nn.Module:
    """An adapted classifier whose adapters say something."""
    adapted = bottleneck_adapters(classifier(classes), width=4, trainable=["head"], generator=generator())
    with torch.no_grad():
        for site in adapter_sites(adapted).values():
            for value in site.bottlenecks.parameters():
                value.normal_(0.0, 0.3, generator=torch.Generator().manual_seed(seed))
    return adapted.eval()


def free(model: nn.Module) -> set[str]:
    return {n for n, p in model.named_parameters() if p.requires_grad}


def test_an_adapter_changes_nothing_at_first_and_trains_alone() -> None:
    before = nano()(tokens())
    adapted = bottleneck_adapters(nano(), width=4, generator=generator())
    assert torch.equal(adapted(tokens()), before)
    assert free(adapted) == {n for n, _ in adapted.named_parameters() if n.startswith("adapters.")}
    assert trainable_parameters(adapted) == 2 * (2 * 48 * 4 + 4 + 48)
    other = bottleneck_adapters(nano(), width=4, generator=torch.Generator().manual_seed(1))
    assert changed_parameters(other, adapted) == 2 * 48 * 4  # the maps into the bottlenecks


def test_an_adapter_adds_its_bottleneck_to_what_the_block_gives() -> None:
    adapted = bottleneck_adapters(nano(), modules=["blocks.1"], width=4, generator=generator())
    with torch.no_grad():
        inner = adapter_sites(adapted)["blocks.1"].bottlenecks
        inner.up.fill_(0.5)
        inner.up_bias.fill_(0.25)
    plain, seen = nano(), []
    plain.blocks[1].register_forward_hook(lambda _, __, output: seen.append(output))
    plain(tokens())
    hidden = seen[0]
    wanted = hidden + 0.5 * (hidden @ inner.down[0].T).relu().sum(-1, keepdim=True) + 0.25
    assert torch.allclose(adapted(tokens()), plain.head(plain.norm(wanted)), atol=1e-5)


@pytest.mark.parametrize("kind", ["bottleneck_adapters", "adapter_attention", *KINDS])
def test_an_adapted_model_returns_from_its_specification_and_as_a_copy(kind) -> None:
    sources = [source(i) for i in range(2)]
    if kind == "bottleneck_adapters":
        adapted = sources[0]
    elif kind == "adapter_attention":
        adapted = adapter_attention(classifier(), sources, generator=generator())
    else:
        adapted = scaled_adapters(classifier(), sources, generator=generator(), **KINDS[kind])
    said = adapted.eval()(tokens())
    assert (said - classifier()(tokens())).abs().max() > 0.01
    again = build(dict(adapted.kdrun_spec), seed=(9,))
    again.load_state_dict(adapted.state_dict())
    assert torch.equal(again.eval()(tokens()), said)
    assert free(again) == free(adapted)
    twin = copy.deepcopy(adapted)
    with torch.no_grad():
        for value in twin.parameters():
            value.zero_()
    assert torch.equal(adapted(tokens()), said)
    assert torch.equal(twin(tokens()), torch.zeros_like(said))


@pytest.mark.parametrize("kind", KINDS)
def test_a_coefficient_of_one_for_a_source_and_none_for_others_is_that_source(kind) -> None:
    sources = [source(0), source(1, classes=5)]
    together = scaled_adapters(classifier(), sources, dropout=0.0, generator=generator(), **KINDS[kind])
    with torch.no_grad():
        for site in adapter_sites(together).values():
            site.combine.scale.copy_(torch.tensor([[1.0], [0.0]]).expand_as(site.combine.scale))
    assert torch.allclose(together(tokens()), sources[0](tokens()), atol=1e-6)


def test_coefficients_are_counted_and_drawn_around_two_shares() -> None:
    sources, options = [source(i) for i in range(3)], {"trainable": ["head"], "generator": generator()}
    counts = {}
    for shared in (False, True):
        for granularity in ("vector", "scalar"):
            model = scaled_adapters(classifier(), sources, granularity=granularity, shared=shared, **options)
            counts[granularity, shared] = int(trainable_parameters(model, without=["head"]))
            scales = torch.cat([site.combine.scale.flatten() for site in adapter_sites(model).values()])
            assert (scales - 2 / 3).abs().max() < 0.006
            assert scales.std() > 0.0002
    assert counts == {("vector", False): 288, ("scalar", False): 6, ("vector", True): 144, ("scalar", True): 3}
    fixed = scaled_adapters(classifier(), sources, start=1.0, spread=0.0, learned=False, **options)
    assert trainable_parameters(fixed, without=["head"]) == 0
    assert all(bool((s.combine.scale == 1 / 3).all()) for s in adapter_sites(fixed).values())


def test_dropout_takes_coefficients_away_for_all_tokens_alike_and_only_while_training() -> None:
    model = scaled_adapters(classifier(), [source(i) for i in range(2)], dropout=0.5, generator=generator())
    site = next(iter(adapter_sites(model).values()))
    up, hidden = torch.ones(2, 5, 2, 48), torch.zeros(2, 5, 48)
    with torch.no_grad():
        site.combine.scale.fill_(1.0)
    torch.manual_seed(0)
    dropped = site.combine.train()(up, hidden)
    assert set(dropped.unique().tolist()) == {0.0, 2.0, 4.0}
    assert torch.equal(dropped, dropped[:1, :1].expand_as(dropped))
    assert torch.equal(site.combine.eval()(up, hidden), torch.full_like(hidden, 2.0))


def test_attention_that_tells_no_source_apart_is_their_mean_and_holds_its_values() -> None:
    sources = [source(i) for i in range(2)]
    attention = adapter_attention(classifier(), sources, trainable=["head"], generator=generator())
    mean = scaled_adapters(classifier(), sources, start=1.0, spread=0.0, generator=generator())
    with torch.no_grad():
        for site in adapter_sites(attention).values():
            site.combine.query.weight.zero_()  # attends to all alike
    assert torch.allclose(attention(tokens()), mean.eval()(tokens()), atol=1e-4)
    assert trainable_parameters(attention, without=["head"]) == 2 * (3 * 48 * 48 + 2 * 48)
    distance = attention.value_distance(tokens())
    assert torch.allclose(distance, torch.tensor(2 * 48 * 48 * 1e-12), atol=1e-10)
    with torch.no_grad():
        adapter_sites(attention)["blocks.0"].combine.value.weight[0, 1] += 2.0
    assert attention.value_distance(tokens()).item() == pytest.approx(4.0, rel=1e-3)


def test_a_soup_is_the_mean_of_weights_and_not_of_what_they_say() -> None:
    sources = [source(i) for i in range(2)]
    assert torch.allclose(averaged_adapters(classifier(), [sources[0]])(tokens()), sources[0](tokens()), atol=1e-6)
    soup = averaged_adapters(classifier(), sources, trainable=["head"])
    wanted = torch.stack([adapter_sites(s)["blocks.1"].bottlenecks.up[0] for s in sources]).mean(0)
    assert torch.allclose(adapter_sites(soup)["blocks.1"].bottlenecks.up[0], wanted)
    assert trainable_parameters(soup, without=["head"]) == 0
    mean = scaled_adapters(classifier(), sources, start=1.0, spread=0.0, generator=generator())
    assert (soup.eval()(tokens()) - mean.eval()(tokens())).abs().max() > 0.01


def test_only_what_is_free_is_trained() -> None:
    model = scaled_adapters(classifier(), [source(i) for i in range(2)], trainable=["head"], generator=generator())
    model(tokens()).square().sum().backward()
    moved = {n for n, p in model.named_parameters() if p.grad is not None and bool(p.grad.any())}
    assert moved == {"head.weight", "head.bias", *(f"adapters.blocks/{i}.combine.scale" for i in range(2))}


def test_models_of_transformers_take_adapters_behind_their_layers() -> None:
    pytest.importorskip("transformers")
    config = {
        "vocab_size": 20,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    options = {"name": "bert", "task": "sequence_classification", "config": config, "num_classes": 3}
    model = build({"model": "transformers", "pretrained": False, "dtype": "float32", **options}, seed=(0,)).eval()
    asked = tokens() % 20
    before = model(asked).logits
    adapted = bottleneck_adapters(model, width=2, trainable=["head"], generator=generator()).eval()
    assert torch.allclose(adapted(asked).logits, before, atol=1e-6)
    assert list(adapter_sites(adapted)) == ["bert.encoder.layer.0", "bert.encoder.layer.1"]
    with torch.no_grad():
        adapter_sites(adapted)["bert.encoder.layer.1"].bottlenecks.up_bias.add_(1.0)
    assert not torch.allclose(adapted(asked).logits, before, atol=1e-3)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="no module 'blokcs'"):
        bottleneck_adapters(nano(), modules=["blokcs"], generator=generator())
    with pytest.raises(InputError, match="names no blocks"):
        bottleneck_adapters(make("mlp", hidden=[4]), generator=generator())
    with pytest.raises(InputError, match="a source is a model with a bottleneck adapter"):
        scaled_adapters(classifier(), [classifier()], generator=generator())
    wider = make("encoder_transformer", vocabulary=37, num_classes=3, size="micro")
    with pytest.raises(InputError, match="'size' is another one"):
        scaled_adapters(wider, [source(0)], generator=generator())
