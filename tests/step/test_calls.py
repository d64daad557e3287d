"""Calls of a model's inner modules."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from kdrun.data.dataset import Column
from kdrun.errors import InputError
from kdrun.grammar.steps import parse_step
from kdrun.models.building import build
from kdrun.step.calls import Call
from kdrun.step.trace import trace
from support.language import GPT2

CAUSAL = {"model": "causal_transformer", "vocabulary": 71, "dim": 16, "depth": 1, "heads": 2}
TIED = {
    "head": ("tokens", CAUSAL),
    "lm_head": (
        "transformer.ln_f",
        {
            "model": "transformers",
            "name": "gpt2",
            "task": "causal_lm",
            "pretrained": False,
            "num_classes": 2,
            "config": GPT2,
        },
    ),
}


def stepped(head: str, states: str):
    """A step that looks at hidden states, and gives them to the head by itself."""
    nodes = {
        "s": {"call": "student", "from": ["batch.tokens"], "taps": {"states": states}},
        "again": {"call": f"student.{head}", "from": ["s.states"]},
        "ce": {"op": "cross_entropy", "from": ["again", "batch.target"]},
    }
    update = {"minimize": {"ce": 1.0}, "train": ["student"], "optimizer": {"optimizer": "sgd", "lr": 0.1}}
    return parse_step({"nodes": nodes, "updates": {"main": update}}, key="step")


@pytest.mark.parametrize("head", TIED)
def test_a_head_that_shares_the_embeddings_weight_is_called_by_itself(head) -> None:
    """In a plan, and at other parameters, where the shared weight goes by the embedding's name alone."""
    states, spec = TIED[head]
    if spec["model"] == "transformers":
        pytest.importorskip("transformers")
    step = stepped(head, states)
    columns = {"data": {name: Column((6,), torch.int64) for name in ("tokens", "target")}}
    found = trace(step, specs={"student": spec}, tensors={}, columns=columns, batch_size=4, sizes={})
    assert found.shapes["again"] == [4, 6, 71]
    model = build(spec, seed=(0,))
    hidden = torch.randn(4, 6, 16)
    moved = {name: value + 1.0 for name, value in model.named_parameters()}
    (shared,) = [name for name, value in model.named_parameters() if value is model.get_submodule(head).weight]
    said = Call(model, step.nodes["again"]).functional(moved, hidden)
    torch.testing.assert_close(said, F.linear(hidden, moved[shared]))


LIBRARY = {
    "timm": ("test_resnet", "test_convnext", "mobilenetv3_small_050", "dla46x_c", "resnetv2_18"),
    "torchvision": ("resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5"),
    "transformers": ("resnet", "mobilenet_v1"),
}
TINY = {
    "resnet": {"hidden_sizes": [8, 16], "depths": [1, 1], "embedding_size": 8},
    "mobilenet_v1": {"depth_multiplier": 0.25},
}


def of_library(library: str, name: str) -> dict[str, object]:
    if library == "transformers":
        pytest.importorskip("transformers")
        return {
            "model": library,
            "name": name,
            "task": "image_classification",
            "config": TINY[name],
            "pretrained": False,
            "num_classes": 5,
        }
    channels = {"in_channels": 3} if library == "timm" else {}
    return {"model": library, "name": name, "pretrained": False, "num_classes": 5, **channels}


@pytest.mark.parametrize(("library", "name"), [(library, name) for library, names in LIBRARY.items() for name in names])
def test_the_classifier_of_a_convolutional_network_is_called_by_itself(library, name) -> None:
    """On what it reads, [batch, width], it says what the whole model says; also where it is a convolution of 1 × 1."""
    spec = of_library(library, name)
    nodes = {
        "s": {"call": "student", "from": ["batch.image"], "taps": {"feature": "feature"}},
        "again": {"call": "student.head", "from": ["s.feature"]},
        "ce": {"op": "cross_entropy", "from": ["again", "batch.label"]},
    }
    update = {"minimize": {"ce": 1.0}, "train": ["student"], "optimizer": {"optimizer": "sgd", "lr": 0.1}}
    step = parse_step({"nodes": nodes, "updates": {"main": update}}, key="step")
    columns = {"data": {"image": Column((3, 64, 64), torch.float32), "label": Column((), torch.int64)}}
    found = trace(step, specs={"student": spec}, tensors={}, columns=columns, batch_size=2, sizes={})
    assert found.shapes["again"] == [2, 5]
    model = build(spec, seed=(0,)).eval()
    whole = Call(model, step.nodes["s"])
    with torch.no_grad():
        said = whole.function()(torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)))
        said = said if isinstance(said, torch.Tensor) else said["logits"]
        feature = whole.slots["feature"].take()
        head = Call(model, step.nodes["again"])
        assert feature.dim() == 2
        torch.testing.assert_close(head.function()(feature), said)
        torch.testing.assert_close(head.functional(dict(model.named_parameters()), feature), said)


def test_a_network_without_a_classifier_says_what_it_has() -> None:
    spec = {"model": "torchvision", "name": "squeezenet1_1", "pretrained": False, "num_classes": 5}
    step = parse_step({"nodes": {"again": {"call": "student.head", "from": ["batch.image"]}}}, key="step")
    with pytest.raises(InputError, match=r"has no module 'head'.* its named taps: map_1, map_2, map_3, map"):
        Call(build(spec, seed=(0,)), step.nodes["again"])
