"""Tuning: alike in all arms, on validation rows, at seeds that judge nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

import kdrun
from kdrun.errors import InputError, RunError
from support.recipes import ALONE, NO_TRANSFER, write_recipe

# How far `guess` is from what each arm aims at, and noise that seeds draw.
AIMED = """
guess: 0.0
aim: 0.0
graph:
  guess_: {op: filled, from: [noise], value: "${guess}"}
  aim_: {op: filled, from: [noise], value: "${aim}"}
  noise: {op: standard_normal, from: [shape]}
  shape: {op: constant, shape: [4]}
  valid: {stage: measure, from: {a: guess_, b: aim_}, metrics: [{metric: mean_squared_distance, from: [a, b], name: loss}]}
  test: {stage: measure, from: {a: guess_, b: aim_, c: noise}, metrics: [{metric: mean_value, from: [a], name: guess}, {metric: mean_value, from: [c], name: noise}]}
arms:
  low: {aim: 1.2}
  high: {aim: 2.9}
seeds: [7, 8]
tune: {knob: guess, values: [1.0, 2.0, 3.0], objective: {metric: valid.loss, goal: minimize}, seeds: [0-1]}
claims: {c: {test: high.test.guess > low.test.guess, kind: main, says: so}}
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    return write_recipe(tmp_path, AIMED, header=ALONE)


def refused(recipe: str, **words) -> InputError:
    with pytest.raises(InputError) as caught:
        kdrun.reproduce(recipe, store="store", **words)
    return caught.value


def test_each_arm_gets_its_own_best_value(recipe: str) -> None:
    found = kdrun.reproduce(recipe, store="store", runs="runs")
    assert {arm: row[7]["test.guess"] for arm, row in found.results.items()} == {"low": 1.0, "high": 3.0}
    chosen = found.study.chosen
    assert chosen is not None
    assert chosen.chosen == {"low": 1.0, "high": 3.0}
    assert chosen.means["low"] == pytest.approx((0.2**2, 0.8**2, 1.8**2))
    assert found.run("high", 8).config["guess"] == 3.0
    assert "tuned guess on valid.loss, seeds 0, 1: low 1.0 (0.0400), high 3.0 (0.0100)" in str(found)
    assert '"chosen": {' in (found.page.parent / "results.json").read_text()
    assert "tuned guess on valid.loss" in found.page.read_text()


def test_the_largest_wins_unless_the_goal_is_the_least(recipe: str) -> None:
    found = kdrun.reproduce(recipe, {"tune.objective": "valid.loss"}, store="store")
    assert found.study.chosen.chosen == {"low": 3.0, "high": 1.0}


def test_arms_that_are_not_named_keep_what_they_say(recipe: str) -> None:
    found = kdrun.reproduce(recipe, {"tune.arms": ["low"]}, store="store")
    assert {arm: row[7]["test.guess"] for arm, row in found.results.items()} == {"low": 1.0, "high": 0.0}
    only = kdrun.reproduce(recipe, arms=["high"], store="store")
    assert only.study.chosen.chosen == {"high": 3.0}


def test_nothing_is_tuned_again_that_the_store_holds(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from kdrun.engine.executor import Executor

    first = kdrun.reproduce(recipe, store="store")
    monkeypatch.setattr(Executor, "_compute", lambda *a: pytest.fail("computed again"))
    assert kdrun.reproduce(recipe, store="store").results == first.results


def test_a_seed_of_tuning_judges_no_claim(recipe: str) -> None:
    error = refused(recipe, seeds=[1, 9])
    assert "seeds 1 are tuned at" in error.message
    assert error.key == "tune.seeds"
    kdrun.reproduce(recipe, seeds=[1], arms=["low"], store="store")  # where nothing is judged


def test_only_what_decides_is_run_while_tuning(recipe: str) -> None:
    from kdrun.api.tuning import _narrowed
    from kdrun.config.compose import Composer
    from kdrun.grammar.tuning import parse_tuning
    from kdrun.graph.check import check

    experiment = Composer.named(recipe).compose(arm="low")
    tuning = parse_tuning(experiment.config["tune"], ["low", "high"])
    assert tuning is not None
    assert check(_narrowed(experiment, tuning).config).targets == ("valid",)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"guess": 2.0}, "guess is tuned: leave it out, or say tune=null"),
        ({"tune.objective": "valid.los"}, "measures no 'valid.los' (did you mean 'valid.loss'?)"),
        ({"tune.knob": "gues"}, "gues"),
        ({"tune.knob": "aim"}, "arm 'low' says aim itself"),
        ({"tune.arms": ["lo"]}, "there is no arm 'lo' (did you mean 'low'?)"),
        ({"tune.values": [1.0]}, "at least two different ones"),
        ({"tune.seeds": 3}, "seeds lists the seeds to tune at"),
        ({"tune.values": "null"}, "tune lacks 'values'"),
        ({"tune.sedes": [1]}, "tune has no 'sedes' (did you mean 'seeds'?)"),
    ],
)
def test_what_cannot_be_tuned_is_refused_before_anything_runs(recipe: str, words: dict, told: str, kdrun) -> None:
    texts = [f"{key}={value}".replace("'", "").replace(" ", "") for key, value in words.items()]
    answer = kdrun("reproduce", recipe, "store=store", *texts)
    assert answer.code == 2
    assert told in answer.err
    assert len(answer.err.strip().splitlines()) == 1


def test_rows_that_are_judged_tune_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    body = """
data: {limit: 64}
epochs: 1
arms: {a: {}, b: {}}
seeds: [7]
tune: {knob: optimizer.lr, values: [0.01, 0.1], objective: valid.accuracy, seeds: [0]}
graph:
  scores: {stage: summarize, from: [[test]], columns: {accuracy: [mean]}}
"""
    recipe = write_recipe(tmp_path, body, header=NO_TRANSFER)
    assert kdrun.reproduce(recipe, store="store").study.chosen is not None
    for metric, path in (("test.accuracy", None), ("scores.accuracy.mean", "data.test → test → scores")):
        error = refused(recipe, overrides={"tune.objective": metric, **({"skip": ["scores"]} if path is None else {})})
        assert f"held out to be judged: {path or 'data.test → test'}" in error.message
    error = refused(recipe, overrides={"tune.objective": "valid.accuracy", "valid.from.data": "data.test"})
    assert "held out to be judged: data.test → valid" in error.message, "whatever the table is called"


def test_a_value_with_which_training_diverges_is_not_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    body = """
data: {limit: 64}
epochs: 2
batch_size: 16
arms: {a: {}}
seeds: [7]
tune: {knob: optimizer.lr, values: [1.0e+30, 0.01], objective: valid.accuracy, seeds: [0]}
"""
    recipe = write_recipe(tmp_path, body, header=NO_TRANSFER)
    assert kdrun.reproduce(recipe, store="store").study.chosen.chosen == {"a": 0.01}
    with pytest.raises(RunError, match=r"with no value of optimizer.lr do all runs of arm 'a' end well"):
        kdrun.reproduce(recipe, {"tune.values": [1e30, 1e32]}, store="store")
