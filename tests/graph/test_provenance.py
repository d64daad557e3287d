"""Rows that are held out to be judged reach nothing that fits, chooses or labels."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdrun.config.compose import Composer
from kdrun.errors import InputError
from kdrun.grammar.nodes import Graph, Ref
from kdrun.graph.check import check
from support.recipes import ADAPTED_TO_TEST, ALONE, NO_TRANSFER, write_recipe

# The student of `distillation` also learns what is called `more`, as the teacher of `web_distillation` does.
MIXED = (
    NO_TRANSFER
    + """
graph:
  more: {stage: mix, by: concatenate_rows, from: [data.train, data.valid]}
  fit_student: {from: {data: more}}
"""
)

# A network learns from one batch how much each row of another counts.
WEIGHED = (
    NO_TRANSFER
    + """
graph:
  fit_student:
    from: {valid: data.valid}
    models: {weigh: {model: mlp, hidden: [4], num_classes: 1, final: sigmoid, squeeze: true}}
    step:
      nodes:
        ce: {reduction: none}
        weight: {call: weigh, from: [s.probabilities]}
        weighted: {op: multiply, from: [weight, ce]}
        helped: {op: mean, from: [weighted]}
        judged: {op: cross_entropy, from: [s.logits, valid.label]}
      minimize: null
      train: null
      optimizer: null
      updates:
        weigh: {minimize: {judged: 1.0}, train: [weigh], through: {update: main}, batch: valid, optimizer: {optimizer: adam}}
        main: {minimize: {helped: 1.0}, train: [student], optimizer: optimizer}
"""
)

# What mixture of sources is best, by a cheap learner's accuracy on target rows?
MIXTURE = (
    ALONE
    + """
data: {data: class_sources, base: {data: digits}, groups: [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]}
graph:
  grid: {op: simplex_cells, sources: 2, step: 0.25}
  rows: {stage: solve, by: mixture_rows, from: [data.pool, grid], size: 20, repeats: 1}
  pilot: {stage: solve, by: mixture_accuracy, from: [rows, data.pool, data.valid]}
  best: {op: softmax, from: [pilot]}
  chosen: {stage: select, by: source_mixture, from: [data.pool, best], size: 20}
  truth: {stage: solve, by: mixture_accuracy, from: [rows, data.pool, data.test]}
  test: {stage: measure, from: {truth: truth, pilot: pilot}, metrics: [{metric: mean_absolute_error, from: [pilot, truth]}]}
results: [chosen]
"""
)

FREE = ALONE + ADAPTED_TO_TEST


def checked(recipe: str, *overrides: str) -> Graph:
    return check(Composer.named(recipe, overrides).compose().config)


def refused(recipe: str, *overrides: str) -> str:
    with pytest.raises(InputError) as caught:
        checked(recipe, *overrides)
    return caught.value.message


@pytest.mark.parametrize(
    ("recipe", "leak", "path"),
    [
        (MIXED, "more.from=[data.train,data.test]", "data.test → more → fit_student"),
        (WEIGHED, "fit_student.from.valid=data.test", "data.test → fit_student"),
        (MIXTURE, "pilot.from=[rows,data.pool,data.test]", "data.test → pilot → best → chosen"),
    ],
    ids=["rows mixed in", "a second loader", "the target of a choice"],
)
def test_the_path_of_a_leak_is_told(tmp_path: Path, recipe: str, leak: str, path: str) -> None:
    name = write_recipe(tmp_path, recipe, header="")
    checked(name)  # as it stands, validation rows do all of it
    message = refused(name, leak)
    assert path in message
    assert "\n" not in message


def test_it_is_told_what_happens_at_the_end_of_the_path(tmp_path: Path) -> None:
    name = write_recipe(tmp_path, MIXTURE, header="")
    assert refused(name, "pilot.from=[rows,data.pool,data.test]").startswith("'chosen' chooses rows by")
    assert refused(write_recipe(tmp_path, MIXED, header=""), "more.from=[data.test]").startswith(
        "'fit_student' learns from"
    )


def test_all_rows_are_held_out_where_test_rows_are_among_them(tmp_path: Path) -> None:
    assert "data.all → fit_student" in refused("kd", "fit_student.from.data=data.all")


def test_choosing_a_model_by_test_scores_is_a_leak(tmp_path: Path) -> None:
    body = """
graph:
  one: {stage: train, from: {model: student, data: data.train, optimizer: optimizer}, step: supervised, epochs: 1}
  two: {like: one, epochs: 2}
  scores: {stage: evaluate, from: [[one, two], data.valid], metrics: [accuracy]}
  best: {stage: merge, by: best_scored, from: [[one, two], scores], column: accuracy}
  test: {stage: evaluate, from: [best, data.test], metrics: [accuracy]}
"""
    name = write_recipe(tmp_path, body)
    checked(name)
    assert "data.test → scores → best" in refused(name, "scores.from=[[one,two],data.test]")


def test_what_is_only_judged_may_read_everything(tmp_path: Path) -> None:
    body = """
graph:
  fit: {stage: train, from: {model: student, data: data.train, optimizer: optimizer}, step: supervised, epochs: 1}
  few: {stage: select, by: of_classes, from: [data.test], classes: [0, 1]}
  labels: {stage: reduce, by: column, from: [few], name: label}
  said: {stage: predict, from: [fit, few]}
  test: {stage: measure, from: {said: said, labels: labels}, metrics: [{metric: accuracy, from: [said, labels]}]}
"""
    assert not checked(write_recipe(tmp_path, body)).shown


def test_a_partition_keeps_its_inputs_apart(tmp_path: Path) -> None:
    body = """
graph:
  parts: {stage: partition, by: label_skew, from: {train: data.train, test: data.test}, parts: 2, size: 50}
  fit: {stage: train, from: {model: student, data: parts.0.train, optimizer: optimizer}, step: supervised, epochs: 1}
  test: {stage: evaluate, from: [fit, parts.0.test], metrics: [accuracy]}
"""
    name = write_recipe(tmp_path, body)
    checked(name)
    assert "data.test → parts → fit" in refused(name, "fit.from.data=parts.0.test")


def test_a_method_sees_the_columns_that_are_named_and_no_answers(tmp_path: Path) -> None:
    name = write_recipe(tmp_path, FREE, header="")
    assert "transductive: {data.test: [image]}" in refused(name)
    shown = checked(name, "+transductive={data.test:[image]}").shown
    assert shown == {"asked": {Ref("data", ("test",)): ("image",)}}
    assert "'label' is what 'data.test' is judged by" in refused(name, "+transductive={data.test:[image,label]}")
    assert "there is no node 'dat' (did you mean 'data'?)" in refused(name, "+transductive={dat.test:[image]}")


def test_any_rows_may_be_held_out_by_name(tmp_path: Path) -> None:
    name = write_recipe(tmp_path, MIXED, header="")
    assert "data.valid → more → fit_student" in refused(name, "+transductive={data.valid:[]}")


def test_what_judges_held_out_rows_chooses_nothing_even_where_their_inputs_are_shown(tmp_path: Path) -> None:
    body = (
        FREE.removeprefix(ALONE).replace(
            "from: {model: fit, data: asked, optimizer", "from: {model: better, data: asked, optimizer"
        )
        + """
  score: {stage: evaluate, from: [[fit], data.test], metrics: [accuracy]}
  better: {stage: merge, by: best_scored, from: [[fit], score], column: accuracy}
"""
    )
    found = refused(write_recipe(tmp_path, body), "+transductive={data.test:[image]}")
    assert "data.test → score → better" in found
    assert "judge other rows to choose by" in found
