"""Weights taken out, copied, averaged and added."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kdrun.errors import InputError
from kdrun.models.building import build
from kdrun.parts.weights import (
    average_weights,
    best_scored,
    given_weight,
    inner_linear,
    opaque,
    random_weights,
    task_arithmetic,
)
from support.contexts import stage_context
from support.data import dataset
from support.models import causal

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


def test_averaged_weights_are_in_the_middle() -> None:
    first, second = (build(SPEC, seed=(i,)) for i in range(2))
    middle = average_weights([first, second], weights=[1.0, 3.0])
    expected = (first.head.weight + 3 * second.head.weight) / 4
    assert torch.allclose(middle.head.weight, expected)
    with pytest.raises(InputError, match="one architecture"):
        average_weights([first, build({**SPEC, "hidden": [5]}, seed=(0,))])
    with pytest.raises(InputError, match="as many weights"):
        average_weights([first], weights=[1.0, 2.0])


def test_task_arithmetic_adds_differences() -> None:
    base, first, second = causal(0), causal(1), causal(2)
    before = {k: v.clone() for k, v in base.state_dict().items()}
    merged = task_arithmetic(base, [first, second], scale=0.5).state_dict()
    for name, value in merged.items():
        expected = 0.5 * (first.state_dict()[name] + second.state_dict()[name])
        torch.testing.assert_close(value, expected)
    same = task_arithmetic(causal(0), [first]).state_dict()
    torch.testing.assert_close(same["norm.weight"], first.state_dict()["norm.weight"])
    assert not torch.equal(merged["positions.weight"], before["positions.weight"])
    with pytest.raises(InputError, match="one architecture"):
        task_arithmetic(base, [causal(0, vocabulary=14)])


def test_the_best_model_wins() -> None:
    models = [nn.Linear(1, 1) for _ in range(3)]
    table = [{"c": 0.4}, {"c": float("nan")}, {"c": 0.6}]
    assert best_scored(models, table, column="c") is models[2]
    assert best_scored(models, table, column="c", largest=False) is models[0]
    with pytest.raises(InputError, match="no column 'd'"):
        best_scored(models, table, column="d")
    with pytest.raises(InputError, match="as many rows, got 1"):
        best_scored(models, table[:1], column="c")


def test_a_new_head_needs_a_model_with_one() -> None:
    from kdrun.parts.weights import new_head

    data = dataset(3, tags=torch.zeros(2, 3))
    with pytest.raises(InputError, match="needs a model with num_classes"):
        new_head(torch.nn.Linear(2, 2), data, context=stage_context())


def test_a_weight_is_given_and_others_stay() -> None:
    network, plain = build(SPEC, seed=(0,)), build(SPEC, seed=(0,))
    wanted = torch.randn(3, 4)
    given = given_weight(network, wanted)
    assert torch.equal(given.head.weight, wanted)
    assert all(torch.equal(v, plain.state_dict()[n]) for n, v in given.state_dict().items() if n != "head.weight")
    with pytest.raises(InputError, match=r"'head.weight' is \[3, 4\]: it cannot become \[4, 3\]"):
        given_weight(network, wanted.T)
    with pytest.raises(InputError, match="no weight 'head.wait'"):
        given_weight(network, wanted, weight="head.wait")
