"""``compute``: values that stages read."""

from __future__ import annotations

import pytest
import torch

from kdrun.grammar.nodes import Ref
from support.recipes import COMPUTED, write_recipe


def test_computed_values_are_those_of_predict_and_make_parts(session, tmp_path) -> None:
    path = write_recipe(tmp_path, COMPUTED)
    ready = session(path, "data.limit=256")
    shapes = {s.name: s.notes for s in ready.plan().stages}
    assert shapes["values"] == ()
    metrics = ready.run().metrics
    assert metrics["scores.apart"] == 0
    said = ready.executor.value(Ref("values", ("said",)))
    parts = [ready.executor.value(Ref("parts", (str(i),))).column("said") for i in range(2)]
    assert sorted(torch.cat(parts).tolist()) == sorted(said.tolist())
    assert parts[0].max() < parts[1].min()
    tables = [ready.executor.result(f"counted[{i}].score")[""].rows[0]["accuracy"] for i in range(2)]
    assert metrics["scores.mean"] == pytest.approx(sum(tables) / 2)
