"""Models made of several: averages, task arithmetic, the best one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kdrun.errors import InputError
from kdrun.models.building import build
from kdrun.parts.merge import average_weights, best_scored, task_arithmetic
from support.models import causal

SPEC = {"model": "mlp", "hidden": [4], "in_features": 6, "num_classes": 3}


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
