"""Partitions, selections against each other, and loops over parts."""

from __future__ import annotations

import pytest
import torch

from kdrun.data.dataset import Column, DataInfo, MemoryDataset
from kdrun.errors import InputError
from kdrun.grammar.loops import parse_graph
from kdrun.grammar.nodes import Ref
from kdrun.parts.label import column_values
from kdrun.parts.partition import by_class, random_parts
from kdrun.parts.select import excluding_classes, excluding_rows, of_classes


@pytest.fixture
def rows() -> MemoryDataset:
    label = torch.arange(12) % 4
    return MemoryDataset({"label": label}, DataInfo({"label": Column((), torch.int64)}, classes=4))


def test_classes_make_parts(rows) -> None:
    assert [sorted(set(p.rows()["label"].tolist())) for p in by_class(rows, groups=2)] == [[0, 1], [2, 3]]
    assert [len(p) for p in by_class(rows, groups=[[3], [0, 1, 2]])] == [3, 9]
    with pytest.raises(InputError, match="no row"):
        by_class(rows, groups=[[7]])


def test_random_parts_are_disjoint(rows) -> None:
    parts = random_parts(rows, parts=3, size=2, generator=torch.Generator().manual_seed(0))
    index = torch.cat([p.rows()["index"] for p in parts])
    assert len(index.unique()) == 6
    with pytest.raises(InputError, match="do not fit"):
        random_parts(rows, parts=5, size=3, generator=torch.Generator())


def test_selections_against_another_one(rows) -> None:
    first = of_classes(rows, classes=[1])
    assert len(excluding_rows(rows, first)) == 9
    assert set(excluding_classes(rows, first).rows()["label"].tolist()) == {0, 2, 3}
    assert len(of_classes(rows, classes=2)) == 6


def test_a_column_has_one_value_a_row(rows) -> None:
    assert column_values(rows, torch.ones(12, 2), column="feature").rows()["feature"].shape == (12, 2)
    with pytest.raises(InputError, match="one value a row"):
        column_values(rows, torch.ones(3), column="feature")


GRAPH = {
    "data": {"data": "digits"},
    "graph": {
        "parts": {"stage": "partition", "by": "by_class", "from": ["data.train"], "groups": 2},
        "all": {"stage": "mix", "by": "concatenate_rows", "from": [["parts"]]},
        "stream": {
            "foreach": {"part": "parts", "carry": {"kept": "data.test"}},
            "do": {"kept": {"stage": "select", "by": "excluding_classes", "from": ["kept.before", "part"]}},
        },
        "named": {
            "foreach": {"part": {"low": "parts.0", "high": "parts.1"}},
            "do": {"counts": {"stage": "reduce", "by": "class_counts", "from": ["part"]}},
        },
        "high": {"op": "detach", "from": ["named.high"]},
        "second": {"stage": "reduce", "by": "class_counts", "from": ["parts.1"]},
    },
}


def test_loops_run_over_parts_and_lists_hold_them_all() -> None:
    nodes = parse_graph(GRAPH)
    assert nodes["all"].inputs == [[Ref("parts", ("0",)), Ref("parts", ("1",))]]
    assert nodes["stream[0].kept"].inputs == [Ref("data", ("test",)), Ref("parts", ("0",))]
    assert nodes["stream[1].kept"].inputs == [Ref("stream[0].kept"), Ref("parts", ("1",))]
    assert nodes["named[high].counts"].inputs == [Ref("parts", ("1",))]
    assert nodes["high"].inputs == [Ref("named[high].counts")]
    assert nodes["second"].inputs == [Ref("parts", ("1",))]
