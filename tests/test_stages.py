"""Stages and metrics that compare, merge and summarize."""

from __future__ import annotations

import math

import pytest
import torch

from kdrun.data.dataset import Column, DataInfo, MemoryDataset
from kdrun.errors import InputError
from kdrun.metrics import comparison, statistics
from kdrun.models.building import build
from kdrun.parts.initialize import inner_linear, random_weights
from kdrun.parts.merge import average_weights
from kdrun.parts.mix import concatenate_rows
from kdrun.parts.select import top_k
from kdrun.stages.summarize import summarize

SPEC = {"model": "mlp", "hidden": [4], "in_features": 6, "num_classes": 3}


def rows(count: int, start: int = 0) -> MemoryDataset:
    label = torch.arange(start, start + count)
    info = DataInfo({"image": Column((2,)), "label": Column((), torch.int64)}, classes=9)
    return MemoryDataset({"image": torch.randn(count, 2), "label": label}, info)


def logits(*right: bool) -> torch.Tensor:
    """Two classes, label 0: right where asked."""
    return torch.tensor([[1.0, 0.0] if r else [0.0, 1.0] for r in right])


def test_flips_and_gains() -> None:
    label = torch.zeros(4, dtype=torch.int64)
    teacher, before = logits(True, True, False, True), logits(False, True, True, False)
    after = logits(True, True, True, False)
    assert comparison.positive_flips(teacher, before, label) == 0.5
    assert comparison.negative_flips(teacher, before, label) == 0.25
    assert comparison.accuracy_gain(after, before, label) == 0.25
    assert comparison.flip_transfer(after, teacher, before, label) == 0.5
    assert math.isnan(comparison.flip_transfer(after, before, before, label))
    assert comparison.least_complement(torch.stack([teacher, before], 1), label) == 0.25


def test_weighted_and_group_means() -> None:
    values = torch.tensor([1.0, 2.0, 6.0])
    assert statistics.weighted_mean(values, torch.tensor([0, 1, 3])) == 5.0
    assert statistics.group_means(values, torch.tensor([True, False, True])) == {"0": 2.0, "1": 3.5}
    assert statistics.minimum(values) == 1.0


def test_averaged_weights_are_in_the_middle() -> None:
    first, second = (build(SPEC, seed=(i,)) for i in range(2))
    middle = average_weights([first, second], weights=[1.0, 3.0])
    expected = (first.head.weight + 3 * second.head.weight) / 4
    assert torch.allclose(middle.head.weight, expected)
    with pytest.raises(InputError, match="one architecture"):
        average_weights([first, build({**SPEC, "hidden": [5]}, seed=(0,))])
    with pytest.raises(InputError, match="as many weights"):
        average_weights([first], weights=[1.0, 2.0])


def test_an_inner_linear_layer_answers_as_inside() -> None:
    network = build(SPEC, seed=(0,))
    head = inner_linear(network, module="head")
    feature = torch.randn(2, 4)
    assert torch.equal(head(feature), network.head(feature))
    with pytest.raises(InputError, match="no linear layer"):
        inner_linear(network, module="body")
    assert random_weights(network) is network


def test_joined_rows_know_where_they_come_from() -> None:
    joined = concatenate_rows(rows(2), rows(3, 5), source="source").rows()
    assert joined["label"].tolist() == [0, 1, 5, 6, 7]
    assert joined["source"].tolist() == [0, 0, 1, 1, 1]
    assert joined["index"].tolist() == [0, 1, 2, 3, 4]
    other = MemoryDataset({"label": torch.zeros(1)}, DataInfo({"label": Column(())}))
    with pytest.raises(InputError, match="do not join"):
        concatenate_rows(rows(2), other)


def test_the_surest_share_of_the_rows() -> None:
    scores = torch.tensor([0.1, 0.9, 0.5, 0.7])
    assert top_k(scores, rows(4), share=0.5).rows()["label"].tolist() == [1, 3]
    assert top_k(scores, rows(4), k=1, largest=False).rows()["label"].tolist() == [0]
    with pytest.raises(InputError, match="either k or share"):
        top_k(scores, rows(4))


class _Context:
    config_key = "graph.summary"


def test_summaries_of_tables() -> None:
    tables = [[{"gain": 1.0}], [{"gain": -1.0}], [{"gain": math.nan}], [{"gain": 3.0}]]
    found = summarize(tables, columns={"gain": ["mean", "share_positive", "min"]}, context=_Context())[""].rows[0]
    assert found == {"gain.mean": 1.0, "gain.share_positive": 2 / 3, "gain.min": -1.0}
    assert summarize(tables, columns={"gain": ["max"]}, rows=[0, 1], context=_Context())[""].rows[0] == {
        "gain.max": 1.0
    }
    with pytest.raises(InputError, match="no column 'gian' \\(did you mean 'gain'"):
        summarize(tables, columns={"gian": ["mean"]}, context=_Context())
    with pytest.raises(InputError, match="no statistic 'maen'"):
        summarize(tables, columns={"gain": ["maen"]}, context=_Context())
