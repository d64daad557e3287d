"""Conditions on records, and the best run first, in the metric's own direction."""

from __future__ import annotations

import json

import pytest

from kdrun.engine.query import best_first, chosen_runs
from kdrun.errors import InputError
from kdrun.graph.columns import lowest


@pytest.fixture
def runs(tmp_path):
    """Four runs: two arms that ended well, one that failed, one without settings."""
    said = {
        "a": {"arm": "kd", "seed": 0, "metrics": {"test.accuracy": 0.9, "test.nll": 0.3}, "lowest": ["test.nll"]},
        "b": {"arm": "none", "seed": 1, "metrics": {"test.accuracy": 0.8, "test.nll": 0.2}, "lowest": ["test.nll"]},
        "c": {"arm": "kd", "seed": 1, "state": "failed", "error": "the loss became nan", "metrics": {}},
        "d": {"arm": "hint", "seed": 2, "metrics": {"test.accuracy": float("nan")}},
    }
    for number, (name, record) in enumerate(said.items()):
        folder = tmp_path / "runs" / "distillation-kd" / name
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps({"recipe": "distillation/kd", **record}))
        if name != "d":
            (folder / "config.yaml").write_text(f"optimizer: {{lr: {number / 10}, nesterov: true}}\n")
    return tmp_path / "runs"


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ([], "abcd"),
        (["arm=kd"], "ac"),
        (["arm!=kd"], "bd"),
        (["recipe=kd"], "abcd"),
        (["state=failed"], "c"),
        (["test.accuracy>0.85"], "a"),
        (["test.accuracy<=0.9", "seed=1"], "b"),
        (["optimizer.lr=1e-1"], "b"),
        (["optimizer.lr>=0.1"], "bc"),
        (["optimizer.nesterov=true", "arm=kd"], "ac"),
        (["failed"], "c"),
    ],
)
def test_words_choose_runs(runs, words: list[str], names: str) -> None:
    assert "".join(run.folder.name for run in chosen_runs(runs, words)) == names


def test_a_condition_on_what_no_run_has_names_the_nearest(runs) -> None:
    with pytest.raises(InputError, match=r"no run has 'test.acuracy' \(did you mean 'test.accuracy'\?\)"):
        chosen_runs(runs, ["test.acuracy>0.5"])


def test_the_best_stands_first_and_what_was_not_measured_last(runs) -> None:
    found = chosen_runs(runs)
    assert "".join(run.folder.name for run in best_first(found, "test.accuracy"))[:2] == "ab"
    assert "".join(run.folder.name for run in best_first(found, "test.nll"))[:2] == "ba"


def test_metrics_say_of_themselves_that_less_is_better(session) -> None:
    graph = session("kd", "graph.test.metrics=[accuracy,nll,{metric: calibration_error, name: gap}]").graph
    assert {"test.nll", "test.gap"} <= set(lowest(graph))
    assert "test.accuracy" not in lowest(graph)
