"""Studies: drawn from seeds and history alone, so that a search goes on after an interruption as if there had been none."""

from __future__ import annotations

import math
import os

import pytest

pytest.importorskip("optuna", reason="pip install 'kdrun[optuna]'")

from kdrun.config.search_space import Knob
from kdrun.engine.studies import Curve, Study
from kdrun.errors import InputError
from kdrun.grammar.objective import Objective

KNOBS = [Knob("x", low=-1.0, high=1.0), Knob("n", low=1, high=9, step=1), Knob("kind", choices=("a", "b"))]
LOSS, GAIN = Objective("test.nll", "minimize"), Objective("test.accuracy", "maximize")


def study(path, *, objectives=(LOSS,), knobs=KNOBS, sampler="tpe", pruner="none", seed=0) -> Study:
    return Study(path, objectives, knobs, sampler=sampler, pruner=pruner, seed=seed)


def loss(params) -> float:
    return (params["x"] - 0.3) ** 2 + params["n"] / 10 + (params["kind"] == "a")


def go_on(found: Study, until: int) -> None:
    waiting = found.interrupted()
    while waiting or len(found.trials()) < until:
        trial = waiting.pop(0) if waiting else found.ask()
        trial.state, trial.values = "finished", [loss(trial.params)]
        found.tell(trial)


@pytest.mark.parametrize("sampler", ["tpe", "random", pytest.param("gp", marks=pytest.mark.slow)])
def test_a_search_that_was_cut_off_tries_what_it_would_have_tried(tmp_path, sampler) -> None:
    whole = study(tmp_path / "whole.log", sampler=sampler)
    go_on(whole, 14)
    cut = study(tmp_path / "cut.log", sampler=sampler)
    go_on(cut, 5)
    cut.let_go([cut.ask()])
    again = study(tmp_path / "cut.log", sampler=sampler)
    assert [trial.state for trial in again.trials()] == ["finished"] * 5 + ["running"]
    go_on(again, 14)
    assert [trial.params for trial in again.trials()] == [trial.params for trial in whole.trials()]
    assert again.best() == whole.best()
    if sampler == "tpe":
        first, last = (sum(loss(t.params) for t in again.trials()[part]) for part in (slice(0, 4), slice(10, 14)))
        assert last < first, "it learns from what it was told"
    other = study(tmp_path / "other.log", sampler=sampler, seed=1)
    go_on(other, 3)
    assert [trial.params for trial in other.trials()] != [trial.params for trial in whole.trials()[:3]]


def test_trials_of_processes_that_are_there_are_left_to_them(tmp_path) -> None:
    found = study(tmp_path / "a.log")
    trial = found.ask()
    assert study(tmp_path / "a.log").interrupted() == []
    found._opened(trial.number).set_user_attr("process", 2**22 + os.getpid())
    (again,) = study(tmp_path / "a.log").interrupted()
    assert (again.number, again.params) == (trial.number, trial.params)


def test_a_grid_tries_each_combination_once(tmp_path) -> None:
    knobs = [Knob("n", low=1, high=3, step=1), Knob("kind", choices=("a", "b"))]
    seen = []
    while (trial := study(tmp_path / "a.log", knobs=knobs, sampler="grid").ask()) is not None:
        seen.append((trial.params["n"], trial.params["kind"]))
    assert seen == [(n, kind) for n in (1, 2, 3) for kind in "ab"]


def test_several_objectives_end_in_a_front(tmp_path) -> None:
    found = study(tmp_path / "a.log", objectives=(LOSS, GAIN), sampler="nsgaii")
    for values in ([1.0, 0.5], [2.0, 0.9], [2.0, 0.8], [0.5, 0.1], [math.nan, 1.0]):
        trial = found.ask()
        trial.state, trial.values = "finished", values
        found.tell(trial)
    assert found.best() == [0, 1, 3]
    assert [trial.state for trial in found.trials()] == ["finished"] * 4 + ["failed"]
    assert found.trials()[4].error == "an objective is no number"
    with pytest.raises(InputError, match="one of other objectives"):
        study(tmp_path / "a.log", objectives=(LOSS,))


def test_a_curve_below_the_median_of_others_is_ended(tmp_path) -> None:
    path = tmp_path / "a.log"
    found = study(path, objectives=(GAIN,))
    for level in (0.5, 0.6, 0.7, 0.8, 0.9):
        trial = found.ask()
        curve = Curve(path, trial.number, "median")
        assert not any(curve.falls_behind(epoch, level) for epoch in (1, 2))
        trial.state, trial.values = "finished", [level]
        found.tell(trial)
    trial = found.ask()
    assert Curve(path, trial.number, "median").falls_behind(1, 0.6)
    assert not Curve(path, trial.number, "none").falls_behind(2, 0.1)
    trial.state, trial.error = "pruned", "behind"
    found.tell(trial)
    last = found.trials()[-1]
    assert (last.state, last.values, last.epochs, last.error) == ("pruned", [], 2, "behind")
    assert found.best() == [4]


def test_what_is_no_study_or_sampler_is_refused(tmp_path) -> None:
    with pytest.raises(InputError, match=r"no sampler 'tpee' \(did you mean 'tpe'\?\)"):
        study(tmp_path / "a.log", sampler="tpee")
    with pytest.raises(InputError, match="no pruner"):
        study(tmp_path / "a.log", pruner="best")
    (tmp_path / "b.log").write_text("[1]\n{}\n")
    with pytest.raises(InputError, match="is no study"):
        study(tmp_path / "b.log")
    found = study(tmp_path / "c.log")
    found.ask()
    with pytest.raises(InputError, match="one of other settings"):
        study(tmp_path / "c.log", knobs=[Knob("kind", low=0.0, high=1.0)])._given(0)
