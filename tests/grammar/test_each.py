"""``each``: several nodes written at once."""

from __future__ import annotations

import pytest

from kdrun.errors import InputError
from kdrun.grammar.each import expand_each
from support.recipes import write_recipe


def test_each_writes_several_nodes(session, tmp_path) -> None:
    body = """
epochs: 1
graph:
  fit:
    stage: train
    from: {student: student, data: data.train, optimizer: optimizer}
    models: {map: {each: [1, 2], model: conv_adapter, out_channels: 3}}
    step:
      nodes:
        s: {call: student, from: [batch.image], taps: {f1: map_1, f2: map_2}}
        u: {each: [1, 2], call: "map_{}", from: ["s.f{}"]}
        sizes: {each: [[1, 2], [2, 1]], op: attention_transfer, from: ["u_{0}", "u_{1}"]}
        all: {op: add, from: [sizes]}
      updates: {main: {minimize: {all: 1.0}, train: [student, map], optimizer: optimizer}}
    epochs: 1
  test: {stage: evaluate, from: [fit, data.test], metrics: [accuracy]}
"""
    ready = session(
        write_recipe(
            tmp_path, body.replace("train: [student, map]", "train: [student.blocks.0, student.blocks.1, map]")
        )
    )
    step = ready.graph.nodes["fit"].params["step"]
    assert step["nodes"]["all"]["from"] == ["sizes_1_2", "sizes_2_1"]
    assert step["nodes"]["sizes_2_1"]["from"] == ["u_2", "u_1"]
    assert step["updates"]["main"]["train"][2:] == ["map_1", "map_2"]
    ready.plan()
    with pytest.raises(InputError, match="each takes a list"):
        session(write_recipe(tmp_path, body.replace("each: [1, 2], call", "each: 2, call")))


@pytest.mark.parametrize(
    ("items", "told"),
    [
        (list(range(20_000)), "items of each are more than 10000"),
        (list(range(9_000)), "entries that each copies are more than 200000"),
        (["x" * 300], "characters of an item of each are more than 200"),
    ],
)
def test_copies_are_counted_before_they_are_made(items, told) -> None:
    body = {"each": items, "op": "add", "from": [f"s.f{i}" for i in range(30)]}
    with pytest.raises(InputError, match=told):
        expand_each({"nodes": {"u": body}}, {}, key="graph.fit")
