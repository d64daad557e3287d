"""Networks: published sizes, taps that fire, weights that depend on seed and label alone, checkpoints."""

from __future__ import annotations

import pytest
import torch

from kdrun.config.paths import group_options
from kdrun.errors import InputError
from kdrun.models.building import build, load_state, resolve
from kdrun.models.taps import tap
from support.models import SIZES, make

PUBLISHED = [
    ("cifar_resnet", {"depth": 20}, 278324),
    ("cifar_resnet", {"depth": 56}, 861620),
    ("cifar_resnet", {"depth": 110}, 1736564),
    ("cifar_resnet", {"depth": 8, "widen": 4}, 1233540),
    ("cifar_resnet", {"depth": 32, "widen": 4}, 7433860),
    ("wide_resnet", {"depth": 16, "width": 2}, 703284),
    ("wide_resnet", {"depth": 40, "width": 2}, 2255156),
    ("cifar_vgg", {"depth": 8}, 3965028),
    ("cifar_vgg", {"depth": 13}, 9462180),
    ("mobilenet_v2", {}, 812836),
    ("shufflenet_v1", {}, 949258),
    ("shufflenet_v2", {}, 1355528),
]


@pytest.mark.parametrize(("name", "options", "count"), PUBLISHED, ids=lambda v: str(v))
def test_parameter_counts_are_those_of_the_literature(name, options, count) -> None:
    assert sum(p.numel() for p in make(name, **options).parameters()) == count


IMAGE_MODELS = [
    *PUBLISHED,
    ("cnn", {"channels": [8, 16, 32]}, 0),
    ("cnn", {"channels": [4, 4, 4], "downsample": [1], "pool": "none", "hidden": [8]}, 0),
    ("bottleneck_classifier", {"backbone": {"model": "cifar_resnet", "depth": 8}, "width": 16}, 0),
    ("mlp", {}, 0),
    ("vision_transformer", {"patch_size": 4}, 0),
    ("linear_classifier", {}, 0),
]


@pytest.mark.parametrize(("name", "options", "_"), IMAGE_MODELS, ids=lambda v: str(v))
def test_every_tap_fires_and_every_weight_gets_a_gradient(name, options, _) -> None:
    network = make(name, **options)
    slots = {point: tap(network, point) for point in network.tap_points if point != "head"}
    logits = network(torch.randn(2, 3, 32, 32))
    assert logits.shape == (2, 100)
    for point, slot in slots.items():
        value = slot.take()
        rank = 4 if point.startswith("map") else 3 if point.startswith("tokens") else 2
        assert value.dim() == rank, point
    logits.square().sum().backward()
    assert all(p.grad is not None for p in network.parameters())


def test_first_weights_depend_on_seed_and_label_alone() -> None:
    spec = resolve({"model": "cnn"}, SIZES)
    torch.manual_seed(5)
    one = build(spec, seed=(0, "a")).head.weight
    after = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(1)), "building must leave the global generator alone"
    assert torch.equal(one, build(spec, seed=(0, "a")).head.weight)
    assert not torch.equal(one, build(spec, seed=(0, "b")).head.weight)


def test_a_checkpoint_of_another_architecture_is_named() -> None:
    state = make("cifar_resnet", depth=14).state_dict()
    with pytest.raises(InputError, match="of another architecture: it lacks .* \\([0-9]+ missing, 0 surplus\\)"):
        load_state(make("cifar_resnet", depth=20), state, source="x")
    with pytest.raises(
        InputError, match="head.weight is \\[100, 64\\], expected \\[100, 32\\]|is of another architecture"
    ):
        load_state(make("cnn", channels=[16, 32]), make("cnn", channels=[16, 64]).state_dict(), source="x")


@pytest.mark.parametrize("group", ["teacher", "student"])
def test_every_option_of_the_groups_names_a_registered_model(group) -> None:
    import yaml

    from kdrun.registry import catalog

    for option, path in group_options(group).items():
        content = yaml.safe_load(path.read_text())
        part = catalog().get("model", content.pop("model"))
        borrowed = {k for k, v in content.items() if isinstance(v, str) and v.startswith("${")}  # from another group
        own = {k: v for k, v in content.items() if k != "weights" and k not in borrowed}
        assert borrowed <= set(part.parameters)
        part.validate(own, key=option, later=borrowed)


def test_a_package_missing_while_building_names_the_extra(monkeypatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match=r"needs an extra: pip install 'kdrun\[llm\]'"):
        build({"model": "transformers", "name": "gpt2", "num_classes": 2})
