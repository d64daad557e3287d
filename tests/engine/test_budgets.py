"""What arms were given is counted from what was run, of the models that they are judged by."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kdrun.engine.budgets import Budget, judged_tables
from kdrun.models.building import build
from support.recipes import ALONE, write_recipe

STUDENT = {"model": "mlp", "hidden": [4], "in_features": 64, "num_classes": 10}
TEACHER = {"model": "mlp", "hidden": [8], "in_features": 64, "num_classes": 10}

# 90 rows of a limit of 90, batches of 30: 3 steps an epoch.
TAUGHT = """
data: {limit: 90}
student: {model: mlp, hidden: [4]}
teacher: {model: mlp, hidden: [8]}
graph:
  fit_teacher: {stage: train, from: {model: teacher, data: data.train, optimizer: optimizer}, step: supervised, epochs: 1, batch_size: 30}
  fit:
    stage: train
    from: {student: student, teacher: fit_teacher, data: data.train, optimizer: optimizer}
    step:
      nodes:
        s: {call: student, from: [batch.image]}
        t: {call: teacher, from: [batch.image], grad: false}
        ce: {op: cross_entropy, from: [s.logits, batch.label]}
        kd: {op: kl_divergence, from: [s.logits, t.logits]}
      minimize: {ce: 1.0, kd: 1.0}
      train: [student]
      optimizer: optimizer
    epochs: 2
    batch_size: 30
  test: {stage: evaluate, from: [fit, data.test], metrics: [accuracy]}
"""


def parameters(spec: dict) -> int:
    return sum(p.numel() for p in build(spec).parameters())


@pytest.fixture
def budget(session, tmp_path: Path):
    def of(body: str, *overrides: str) -> Budget:
        found = session(write_recipe(tmp_path, body, header=ALONE), *overrides).run().budget
        assert found is not None
        return found

    return of


def test_a_stage_that_ends_early_took_no_more_steps(budget) -> None:
    said = "fit.validate={metrics:[accuracy],objective:accuracy,patience:1}"
    found = budget(TAUGHT, "fit.from.valid=data.valid", "fit.epochs=40", said, "optimizer.lr=1e-12")
    assert (found.steps, found.epochs) == (6, 2.0), "nothing is better after the first epoch"
    assert found.asked == 2 * 90


def test_the_last_weights_were_trained_like_the_best(budget) -> None:
    said = "fit.validate={metrics:[accuracy],objective:accuracy,keep:best}"
    found = budget(TAUGHT, "fit.from.valid=data.valid", said, "test.from=[fit.last,data.test]")
    assert (found.rows, found.steps) == (90, 6)


def test_rows_steps_and_answers_of_a_teacher_are_counted(budget) -> None:
    found = budget(TAUGHT)
    assert (found.rows, found.steps, found.epochs) == (90, 6, 2.0)
    assert found.asked == 2 * 90, "the teacher answers for each row in each epoch"
    assert found.parameters == parameters(STUDENT) == 64 * 4 + 4 + 4 * 10 + 10


def test_who_hears_no_teacher_asks_none(budget) -> None:
    taught, alone = budget(TAUGHT), budget(TAUGHT, "fit.step.minimize.kd=0.0")
    assert alone.asked == 0
    assert alone.flops < taught.flops
    assert replace(alone, asked=taught.asked, flops=taught.flops) == taught


def test_an_update_now_and_then_asks_now_and_then(budget) -> None:
    words = ["fit.step.minimize=null", "fit.step.train=null", "fit.step.optimizer=null"]
    updates = "{main: {minimize: {ce: 1.0}, train: [student], optimizer: optimizer}, kd: {minimize: {kd: 1.0}, train: [student], optimizer: optimizer, every: 3}}"
    assert budget(TAUGHT, *words, f"+fit.step.updates={updates}").asked == 2 * 90 // 3


def test_labels_that_a_teacher_gave_before_were_asked_for_once(budget) -> None:
    body = TAUGHT + "  said: {stage: label, by: model_answer, from: [fit_teacher, data.train]}\n"
    found = budget(body, "fit.from.data=said", "fit.step.minimize.kd=0.0")
    assert (found.rows, found.asked) == (90, 90)


def test_a_second_pass_over_the_same_rows_adds_steps_and_no_rows(budget) -> None:
    body = (
        TAUGHT
        + """
  longer: {like: fit, from: {student: fit}, epochs: 1}
  other: {stage: select, by: first_rows, from: [data.valid], k: 20}
"""
    )
    once, twice = budget(body), budget(body, "test.from=[longer,data.test]")
    assert (twice.rows, twice.steps, twice.epochs) == (90, 9, 3.0)
    assert twice.flops == pytest.approx(1.5 * once.flops)
    more = budget(body, "test.from=[longer,data.test]", "longer.from.data=other")
    assert (more.rows, more.steps) == (90 + 20, 6 + 1)


def test_validation_rows_count_where_an_update_learns_from_them(budget) -> None:
    words = ["fit.step.minimize=null", "fit.step.train=null", "fit.step.optimizer=null", "+fit.from.valid=data.valid"]
    update = "{{minimize: {{ce: 1.0}}, train: [student], optimizer: optimizer, batch: valid, every: {0}}}"
    main = "main: {minimize: {kd: 1.0}, train: [student], optimizer: optimizer}"
    for every, rows in ((2, 90 + 200), (0, 90)):
        found = budget(TAUGHT, *words, f"+fit.step.updates={{{main}, more: {update.format(every)}}}")
        assert found.rows == rows


def test_an_ensemble_deploys_all_of_its_members(budget) -> None:
    body = (
        TAUGHT
        + """
  answer:
    stage: measure
    from: {one: fit, two: fit_teacher, data: data.test}
    step:
      nodes:
        a: {call: one, from: [batch.image]}
        b: {call: two, from: [batch.image]}
        both: {op: add, from: [a.logits, b.logits]}
    metrics: [{metric: accuracy, from: [both, batch.label]}, {metric: accuracy, from: [a.logits, batch.label], name: alone}]
"""
    )
    found = budget(body, "skip=[test]")
    assert found.parameters == parameters(STUDENT) + parameters(TEACHER)
    assert found.steps == 6, "the teacher's training is not the student's"


def test_of_a_model_that_lends_its_head_the_head_is_counted(budget) -> None:
    body = (
        TAUGHT
        + """
  answer:
    stage: measure
    from: {one: fit, two: fit_teacher, data: data.test}
    step:
      nodes:
        a: {call: one, from: [batch.image]}
        cut: {op: columns, from: [a.logits], index: [0, 1, 2, 3, 4, 5, 6, 7]}
        b: {call: two.head, from: [cut]}
    metrics: [{metric: accuracy, from: [b, batch.label]}]
"""
    )
    assert budget(body, "skip=[test]").parameters == parameters(STUDENT) + 8 * 10 + 10


def test_what_claims_name_tells_which_models_are_judged() -> None:
    tables = ["test", "stream[0].test", "zoo"]
    main = {"test": "a.test.accuracy > b.test.accuracy", "kind": "main"}
    side = {"test": "a.zoo.1.accuracy > 0.5"}
    board = {"metric": "zoo.accuracy", "against": "a"}
    assert judged_tables({"claims": {"x": main, "y": side}}, "a", tables) == {"test": {"accuracy"}}
    assert judged_tables({"claims": {"y": side}}, "a", tables) == {"zoo": {"1.accuracy"}}
    assert judged_tables({"claims": {"y": side}, "leaderboard": board}, "b", tables) == {"zoo": {"accuracy"}}
    assert judged_tables({}, None, tables) == dict.fromkeys(tables)
