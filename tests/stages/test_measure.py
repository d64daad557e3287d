"""``measure``: figures of a step's nodes."""

from __future__ import annotations

import math

import pytest

from kdrun.errors import InputError
from kdrun.grammar.nodes import Ref
from support.recipes import write_recipe

MEASURED = """
epochs: 1
graph:
  fit: {stage: train, from: {model: student, data: data.train, optimizer: optimizer}, step: supervised, epochs: 1}
  test: {stage: evaluate, from: [fit, data.test], metrics: [accuracy, nll]}
  again:
    stage: measure
    from: {model: fit, data: data.test}
    step:
      nodes:
        s: {call: model, from: [batch.image], taps: {low: map_1}}
        p: {call: model, from: [batch.image, s.low], patch: [map_1]}
        loss: {op: cross_entropy, from: [s.logits, batch.label]}
        right: {op: is_correct, from: [s.logits, batch.label]}
    batch_size: 100
    metrics:
      - {metric: accuracy, from: [p.logits, batch.label]}
      - {metric: mean_value, from: [loss], name: loss}
      - {metric: group_means, from: [batch.label, right], name: label}
"""


def test_measure_agrees_with_evaluate(session, tmp_path) -> None:
    ready = session(write_recipe(tmp_path, MEASURED), "data.limit=256")
    ready.plan()
    metrics = ready.run().metrics
    assert metrics["again.accuracy"] == metrics["test.accuracy"]
    assert math.isclose(metrics["again.loss"], metrics["test.nll"], rel_tol=1e-5)
    rows = ready.executor.value(Ref("data", ("test",))).rows()["label"].double()
    share = metrics["test.accuracy"]
    overall = share * metrics["again.label.1"] + (1 - share) * metrics["again.label.0"]
    assert math.isclose(overall, rows.mean().item(), rel_tol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("from: [p.logits, batch.label]", "from: [q.logits, batch.label]"), "no node or input 'q'"),
        (("from: [loss], name: loss", "from: [loss], name: accuracy"), "two metrics here are called 'accuracy'"),
        (("metrics: [accuracy, nll]", "metrics: [accuracy, accuracy]"), "two metrics here are called 'accuracy'"),
        (
            ("epochs: 1}\n  test", "epochs: 1, validate: {metrics: [nll, nll], rows: data}}\n  test"),
            "two metrics here are called 'nll'",
        ),
        (("from: [p.logits, batch.label]", "name: x"), "say what this metric reads"),
        (("{metric: mean_value, from: [loss]", "{metric: mean_value, from: [loss, right]"), "takes 1 input"),
        (("patch: [map_1]", "patch: [map_1, map_2]"), "patch lists the modules"),
        (("op: is_correct", "op: is_corect"), "is_correct"),
        (
            ("from: [p.logits, batch.label]", "from: [p.logits, [batch.label, batch.label]]"),
            "is one value, got a list",
        ),
    ],
)
def test_wrong_measures_are_found_before_anything_runs(session, tmp_path, change, message) -> None:
    with pytest.raises(InputError, match=message):
        session(write_recipe(tmp_path, MEASURED.replace(*change))).plan()
