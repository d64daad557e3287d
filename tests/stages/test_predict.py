"""``predict``: what models say of rows, and what is known of it before anything runs."""

from __future__ import annotations

import pytest

from kdrun.errors import InputError
from kdrun.grammar.nodes import Ref
from support.recipes import write_recipe

SAID = """
graph:
  fit: {stage: train, from: {model: student, data: data.train, optimizer: optimizer}, step: supervised, epochs: 1}
  one: {stage: predict, from: [fit, data.train], taps: {feature: feature}}
  two: {stage: predict, from: {model: [fit, teacher], data: data.test}, of: probabilities}
results: [one, two]
"""


def test_planning_knows_the_shapes_that_running_gives(session, tmp_path) -> None:
    ready = session(write_recipe(tmp_path, SAID), "data.limit=96")
    planned = {s.name: s for s in ready.plan().stages}
    assert planned["one"].notes == planned["two"].notes == ()
    ready.run()
    for name in ("one", "two"):
        found = ready.store.read(ready.keys[name])
        assert set(found) == set(planned[name].fields)
        for field, artifact in found.items():
            value = artifact.values[""]
            assert (tuple(value.shape), value.dtype) == (
                planned[name].fields[field].shape,
                planned[name].fields[field].dtype,
            )
    assert planned["one"].fields[""].shape == (96, 10)
    assert planned["two"].fields[""].shape == (2, 600, 10)


OF_TASKS = """# @package _global_
defaults:
  - override /protocol: null
  - override /transfer: null
  - override /student: multi_head
  - override /data: rotated_digits
"""

BESIDE = """
data: {tasks: 2, train_rows: 24, test_rows: 10}
graph:
  fresh: {stage: initialize, by: random_weights, from: [student, data.tasks.0.train]}
  said: {stage: predict, from: [fresh, data.tasks.1.test]}
  test: {stage: evaluate, from: [fresh, data.tasks.1.test], metrics: [accuracy]}
results: [said]
"""


def test_a_model_of_more_than_images_is_handed_the_columns_that_it_names(session, tmp_path) -> None:
    ready = session(write_recipe(tmp_path, BESIDE, header=OF_TASKS))
    assert ready.plan().stages[1].fields[""].shape == (10, 10)
    metrics = ready.run().metrics
    rows = ready.executor.value(Ref("data", ("tasks", "1", "test"))).rows()
    logits = ready.executor.value(Ref("said", ()))
    assert metrics["test.accuracy"] == (logits.argmax(1) == rows["label"]).double().mean().item()
    assert rows["task"].unique().tolist() == [1]


def test_a_column_that_a_model_needs_and_the_data_has_not_is_named(session, tmp_path) -> None:
    said = BESIDE.replace("rotated_digits", "digits").replace("tasks.0.", "").replace("tasks.1.", "")
    said = said.replace("data: {tasks: 2, train_rows: 24, test_rows: 10}\n", "")
    with pytest.raises(
        InputError, match="the model reads 'task' beside 'image', and the data has no column of that name"
    ):
        session(write_recipe(tmp_path, said, header=OF_TASKS.replace("rotated_", ""))).run()
