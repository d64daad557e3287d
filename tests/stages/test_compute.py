"""``compute``: values that stages read."""

from __future__ import annotations

import pytest
import torch

from kdrun.grammar.nodes import Ref
from support.recipes import write_recipe

COMPUTED = """
graph:
  fit: {stage: train, from: {model: student, data: data.train, optimizer: optimizer}, step: supervised, epochs: 1}
  values:
    stage: compute
    from: {model: fit, data: data.test}
    step: {nodes: {s: {call: model, from: [batch.image], taps: {feature: feature}}, said: {op: hard_label, from: [s.logits]}}}
    of: [s.logits, said, s.feature]
  again: {stage: predict, from: [fit, data.test]}
  rows: {stage: label, by: column_values, from: [data.test, values.said], column: said}
  parts: {stage: partition, by: by_class, from: [rows], groups: 2, column: said}
  counted: {foreach: {part: parts}, do: {score: {stage: evaluate, from: [fit, part], metrics: [accuracy]}}}
  scores:
    stage: measure
    from: {values: values, again: again, table: counted}
    metrics:
      - {metric: mean_squared_distance, from: [values, again], name: apart}
      - {metric: mean_value, from: [table.accuracy], name: mean}
arms:
  plain: {}
  other: {counted: {stage: evaluate, from: [fit, data.test], metrics: [accuracy]}, skip: [scores]}
"""


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
