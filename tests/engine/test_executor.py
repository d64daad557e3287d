"""The executor: what is computed, let go, shared, recomputed."""

from __future__ import annotations

import pytest
import torch

from kdrun.engine.sources import entry
from kdrun.errors import InputError
from kdrun.grammar.nodes import Ref
from kdrun.runtime.progress import Reporter
from support.recipes import CHAIN, QUICK, write_recipe
from support.runs import run


def test_a_value_is_let_go_after_its_last_use(session, tmp_path) -> None:
    write_recipe(tmp_path, CHAIN, name="chain")
    ready = session("chain.yaml")
    held: list[int] = []

    class Counting(Reporter):
        def stage_finished(self, name: str, seconds: float) -> None:
            held.append(len(ready.executor._results))

    ready.executor.reporter = Counting()
    first = ready.run()
    assert len(held) == 33
    assert max(held) <= 2, "the value at hand and the one before"
    assert session("chain.yaml").run().metrics == first.metrics


def test_stored_results_pull_nothing_that_lies_before_them(session, tmp_path) -> None:
    import shutil

    write_recipe(tmp_path, CHAIN, name="chain")
    ready = session("chain.yaml")
    ready.run()
    for name in ("start", "chain[3].value"):  # gone, but what was made of them is there
        shutil.rmtree(ready.store.place(ready.keys[name]))
    again = session("chain.yaml", "end.metrics=[{metric: minimum, from: [value], name: least}]")
    assert again.run().counts == {"computed": 1, "cached": 1}


def test_nothing_is_computed_twice(session) -> None:
    assert run(session, *QUICK).computed == ["fit_teacher", "teacher_test", "fit_student", "valid", "test"]
    assert run(session, *QUICK).computed == []


def test_a_teacher_is_shared_and_only_what_depends_on_a_knob_is_recomputed(session) -> None:
    run(session, *QUICK)
    assert run(session, *QUICK, "transfer.temperature=2").computed == ["fit_student", "valid", "test"]
    assert run(session, *QUICK, "graph.test.metrics=[accuracy]").computed == ["test"]
    assert "fit_teacher" in run(session, *QUICK, "seed=1").computed


def test_results_do_not_depend_on_what_was_cached(session, tmp_path) -> None:
    first = session("kd", *QUICK)
    run(session, *QUICK, "transfer=none")
    metrics = first.run().metrics
    other = session("kd", *QUICK, f"store={tmp_path / 'fresh'}")
    assert other.run().metrics == metrics


@pytest.mark.parametrize(("change", "again"), [("factor = 2.0", True), ("# another remark", False)])
def test_changing_an_op_recomputes_exactly_the_stages_that_use_it(session, tmp_path, change, again) -> None:
    plugin = tmp_path / "mine.py"
    source = "from kdrun.registry import op\n\n@op\ndef scaled(x):\n    'Scale.'\n    factor = 1.0\n    # a remark\n    return x * factor\n"
    plugin.write_text(source)
    use = [
        f"plugins=[{plugin}]",
        "+graph.fit_student.step.nodes.twice={op: scaled, from: [ce]}",
        "+graph.fit_student.step.minimize.twice=0.1",
    ]
    run(session, *QUICK, *use)
    old = "factor = 1.0" if again else "# a remark"
    plugin.write_text(source.replace(old, change))
    assert run(session, *QUICK, *use).computed == (["fit_student", "valid", "test"] if again else [])


def test_data_made_by_a_stage_come_back_from_the_store(session, tmp_path) -> None:
    recipe = write_recipe(
        tmp_path,
        """
graph:
  some: {stage: select, by: random_rows, from: [data.train], k: 100, balance: label}
  fit_teacher: {stage: train, from: {model: student, data: some, optimizer: optimizer}, step: supervised, epochs: 1}
  answered: {stage: label, by: model_answer, from: [fit_teacher, some]}
  fit_student: {stage: train, from: {model: student, data: answered, optimizer: optimizer}, step: supervised, epochs: 1}
  test: {stage: evaluate, from: [fit_student, data.test], metrics: [accuracy]}
""",
    )
    first = session(recipe)
    metrics = first.run().metrics
    chosen = first.executor.value(Ref("some")).rows()
    assert torch.bincount(chosen["label"]).tolist() == [10] * 10
    again = session(recipe)
    again.store.discard(again.keys["test"])
    again.store.discard(again.keys["fit_student"])
    assert again.run().metrics == metrics


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("parts.7.train", "no field '7'.*entries 0 to 1"),
        ("parts.first.train", "no field 'first'.*entries 0 to 1"),
        ("parts.0.trian", "no field 'trian' .did you mean 'train'"),
    ],
)
def test_an_entry_that_is_not_there_is_named(field, message) -> None:
    split = {"train": 1, "test": 2}
    with pytest.raises(InputError, match=message):
        entry({"parts": [split, split]}, field.split("."))
