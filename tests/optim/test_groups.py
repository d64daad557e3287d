"""Settings of an optimizer by path, shape and depth: one step in closed form."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kdrun.grammar.steps import parse_step
from kdrun.models.building import build
from kdrun.optim.groups import depths
from kdrun.step.trainable import make_trainable

LR, DECAY = 0.5, 0.25


def stepped(module: nn.Module, groups: dict[str, object], **settings: object) -> dict[str, float]:
    """By parameter, what one step of AdamW makes of ones where all gradients are 0: ``1 - rate · decay``."""
    body = {
        "nodes": {"s": {"call": "student", "from": ["batch.image"]}},
        "updates": {"main": {"minimize": {"s": 1.0}, "train": ["student"], "optimizer": {}, "groups": groups}},
    }
    (update,) = parse_step(body, key="step").updates
    content = {"optimizer": "adamw", "lr": LR, "weight_decay": DECAY, **settings}
    trainable = make_trainable(update, {"student": module}, content, {})
    for parameter in module.parameters():
        nn.init.ones_(parameter)
        parameter.grad = torch.zeros_like(parameter)
    trainable.optimizer.step()
    return {name: parameter.flatten()[0].item() for name, parameter in module.named_parameters()}


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 2))


def test_all_parameters_decay_unless_it_is_said_otherwise() -> None:
    assert set(stepped(network(), {}).values()) == {1 - LR * DECAY}
    assert stepped(network(), {}, weight_decay_on="all") == stepped(network(), {})


def test_biases_and_norms_are_spared() -> None:
    found = stepped(network(), {}, weight_decay_on="matrices")
    assert found == {"0.weight": 0.875, "0.bias": 1, "1.weight": 1, "1.bias": 1, "2.weight": 0.875, "2.bias": 1}


def test_a_group_by_path_keeps_its_rate_and_what_it_says_of_decay() -> None:
    groups = {"student.0": {"lr": 0.125}, "student.2": {"weight_decay": 0.5}}
    found = stepped(network(), groups, weight_decay_on="matrices")
    assert found == {
        "0.weight": 1 - 0.125 * DECAY,
        "0.bias": 1,
        "1.weight": 1,
        "1.bias": 1,
        "2.weight": 1 - LR * 0.5,
        "2.bias": 1 - LR * 0.5,
    }


def test_rates_fall_from_layer_to_layer_towards_the_input() -> None:
    found = stepped(network(), {"student.0.bias": {"lr": 0.25}}, layer_decay=0.5)
    rates = {name: (1 - value) / DECAY for name, value in found.items()}
    assert rates == {
        "0.weight": LR / 4,
        "0.bias": 0.25 / 4,
        "1.weight": LR / 2,
        "1.bias": LR / 2,
        "2.weight": LR,
        "2.bias": LR,
    }


def test_blocks_of_a_list_are_layers_and_what_belongs_to_none_is_the_first() -> None:
    timm = pytest.importorskip("timm")
    found = depths(timm.create_model("vit_tiny_patch16_224", depth=3, num_classes=2))
    assert {found[name] for name in ("cls_token", "pos_embed", "patch_embed.proj.weight")} == {5}
    assert [found[f"blocks.{i}.attn.qkv.weight"] for i in range(3)] == [4, 3, 2]
    assert (found["norm.weight"], found["head.weight"]) == (1, 0)
    assert max(depths(build({"model": "mlp", "in_features": 4, "num_classes": 2, "hidden": [3]})).values()) > 0


def test_wrong_words_are_found_before_anything_runs(kdrun) -> None:
    for words, message in {
        (
            "optimizer.weight_decay_on=matrix",
        ): "weights decay on all or on matrices, got 'matrix' (did you mean 'matrices'?)",
        ("optimizer.layer_decay=2",): "layer_decay is a number above 0 and at most 1, got 2",
        (
            "fit_student.step.optimizer={optimizer: sgd, lr: 0.1, weight_decay_on: none}",
        ): "weights decay on all or on matrices",
    }.items():
        refused = kdrun("check", "kd", *words)
        assert (refused.code, message in refused.err) == (2, True), refused.err
    assert kdrun("check", "kd", "optimizer.weight_decay_on=matrices", "optimizer.layer_decay=0.7").code == 0
