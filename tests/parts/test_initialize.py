"""Models made from models: an inner layer, a black box."""

from __future__ import annotations

import pytest
import torch

from kdrun.errors import InputError
from kdrun.models.building import build
from kdrun.parts.initialize import inner_linear, opaque, random_weights

SPEC = {"model": "mlp", "hidden": [4], "in_features": 6, "num_classes": 3}


def test_an_inner_linear_layer_answers_as_inside() -> None:
    network = build(SPEC, seed=(0,))
    head = inner_linear(network, module="head")
    feature = torch.randn(2, 4)
    assert torch.equal(head(feature), network.head(feature))
    with pytest.raises(InputError, match="no linear layer"):
        inner_linear(network, module="body")
    assert random_weights(network) is network


def test_a_black_box_counts_and_tells_labels_only() -> None:
    network = build({"model": "mlp", "hidden": [4], "in_features": 6, "num_classes": 3}, seed=(0,))
    box = opaque(network)
    image = torch.randn(5, 6, requires_grad=True)
    answer = box(image)
    assert list(answer) == ["label"]
    assert torch.equal(answer["label"], network(image).argmax(-1))
    assert not answer["label"].requires_grad
    assert int(box.queries) == 5
    assert not box.train().base.training
