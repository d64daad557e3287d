"""``run -m sweeper=optuna``: a search whose trials are jobs, which goes on where it stopped."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip("optuna", reason="pip install 'kdrun[optuna]'")

from kdrun.engine.executor import Executor
from kdrun.engine.multiruns import Multirun
from kdrun.errors import RunError
from support.recipes import QUICK

RATE = "optimizer.lr=tag(log,interval(0.001,1))"
SEARCH = ("run", "kd", "-m", "sweeper=optuna", "arm=scratch", *QUICK)
CURVE = ("fit_student.from.valid=data.valid", "fit_student.validate={metrics: [accuracy], objective: accuracy}")


def rows(out: str) -> list[list[str]]:
    """The cells of the table of trials, by row."""
    table = out[out.index("\ntrial ") :].split("\n\n")[0].strip().splitlines()
    return [re.split(r"\s{2,}", line) for line in table[2:]]


def test_a_search_ends_with_its_trials_and_the_best_and_more_trials_go_on(kdrun, tmp_path) -> None:
    words = (*SEARCH, RATE, "batch_size=choice(32,64)")
    answer = kdrun(*words, "hydra.sweeper.n_trials=2")
    assert answer.code == 0, answer.err
    found = rows(answer.out)
    assert sorted(row[0].removesuffix(" *") for row in found) == ["0", "1"]
    assert float(found[0][2]) >= float(found[1][2])
    assert [row[0].endswith("*") for row in found] == [True, False]
    assert "maximize valid.accuracy: best of 2 trials" in answer.out
    best = answer.out.splitlines()[-1].partition("  kdrun run ")[2]
    again = kdrun("run", *best.split())
    assert "stages computed: 0" in again.out, "what the best trial was made of is in the store"
    assert f"objective: maximize valid.accuracy: {found[0][2]}" in again.out
    more = kdrun(*words, "hydra.sweeper.n_trials=3")
    assert more.out.count("records: ") == 1, "trials are not repeated"
    assert len(rows(more.out)) == 3
    jobs = [Multirun(path).states() for path in sorted(tmp_path.glob("runs/*/*-multirun"))]
    assert [[job.state for job in several] for several in jobs] == [["finished"] * 2, ["finished"]]


@pytest.mark.slow
def test_trials_that_fail_are_told_and_stop_nothing(kdrun, monkeypatch) -> None:
    words = (*SEARCH, "optimizer.lr=choice(1e30,0.05)", "transfer=choice(none,kd)", "hydra.sweeper.sampler=grid")
    answer = kdrun(*(word for word in words if word != "arm=scratch"), "hydra.sweeper.n_trials=9")
    assert answer.code == 0, answer.err
    assert [row[1] for row in rows(answer.out)] == ["finished", "finished", "failed", "failed"], "a grid has an end"
    assert "kdrun: 2 of 4 trials failed:\n  trial 0: " in answer.err
    assert "the loss became" in answer.err.split("trials failed:")[1]

    def fail(self, node, key):
        raise RunError("no room")

    monkeypatch.setattr(Executor, "_compute", fail)
    answer = kdrun(*SEARCH, RATE, "hydra.sweeper.n_trials=2", "batch_size=16")
    assert (answer.code, "maximize valid.accuracy: no trial ended well" in answer.out) == (1, True)
    assert "trial 1: " in answer.err


@pytest.mark.slow
def test_several_objectives_go_their_own_ways_and_end_in_a_front(kdrun) -> None:
    words = (*SEARCH, RATE, "hydra.sweeper.objectives=[test.accuracy,test.nll]", "hydra.sweeper.n_trials=3")
    answer = kdrun(*words)
    assert answer.code == 0, answer.err
    assert "maximize test.accuracy, minimize test.nll: Pareto front of 3 trials" in answer.out
    table = {row[0].split()[0]: (float(row[2]), float(row[3]), "*" in row[0]) for row in rows(answer.out)}
    for accuracy, loss, best in table.values():
        assert best is not any(a >= accuracy and n <= loss and (a, n) != (accuracy, loss) for a, n, _ in table.values())
    other = "hydra.sweeper.objectives=[{metric: test.nll, goal: maximize}]"
    assert "maximize test.nll: best of" in kdrun(*SEARCH, RATE, other, "hydra.sweeper.n_trials=1").out


@pytest.mark.slow
def test_a_trial_behind_others_is_pruned_by_the_curve_of_its_validation(kdrun, tmp_path) -> None:
    rates = "optimizer.lr=choice(0.1,0.11,0.12,0.13,0.14,1e-09)"
    words = (*SEARCH, *CURVE, rates, "hydra.sweeper.sampler=grid", "epochs=3", "data.limit=256")
    answer = kdrun(*words)
    assert answer.code == 0, answer.err
    pruned = [row for row in rows(answer.out) if row[1].startswith("pruned at epoch ")]
    assert [row[-1] for row in pruned] == ["1e-09"]
    assert "[optimizer.lr=1e-09] pruned: " in answer.out
    records = [json.loads(path.read_text()) for path in tmp_path.glob("runs/*/*/result.json")]
    assert [r["state"] for r in records if "optimizer.lr=1e-09" in r["overrides"]] == ["pruned"]
    assert "failed" not in kdrun("runs").out
    whole = kdrun(*words, "hydra.sweeper.pruner=none")
    assert all(row[1] == "finished" for row in rows(whole.out))
    unknown = kdrun(*words, "hydra.sweeper.prune_by=fit_teacher", "hydra.sweeper.n_trials=1")
    assert "'fit_teacher' is no stage that validates with an objective; there are: fit_student" in unknown.err


def test_what_cannot_be_searched_is_refused_before_anything_runs(kdrun, tmp_path) -> None:
    for words, told in (
        (("optimizer.lrr=interval(0,1)",), "did you mean"),
        (("optimizer.lr=0.1",), "needs something to choose"),
        ((RATE, "hydra.sweeper.sampler=best"), "there is no sampler 'best'"),
        ((RATE, "hydra.sweeper.n_trials=0"), "n_trials is a whole number"),
        ((RATE, "objective=null"), "a search needs an objective"),
        ((RATE, "hydra.sweeper.objectives=[test.acuracy]"), "did you mean 'test.accuracy'?"),
        ((RATE, "hydra.sweeper.study_name=../x"), "a study has a plain name"),
    ):
        answer = kdrun(*SEARCH, *words)
        assert (answer.code, told in answer.err) == (2, True), (words, answer)
    assert not list(tmp_path.glob("runs/*/*/result.json"))


def search(tmp_path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "kdrun", *SEARCH, *CURVE, RATE, *words],
        cwd=tmp_path,
        env={**os.environ, "KDRUN_STORE": str(tmp_path / "store")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.slow
def test_a_search_that_was_killed_goes_on_and_ends_as_if_it_had_not_been(kdrun, tmp_path) -> None:
    words = ("hydra.sweeper.n_trials=4", "epochs=4", "checkpoint_seconds=0")
    killed = search(tmp_path, *words)
    while len(list(tmp_path.glob("runs/*/*/result.json"))) < 2:
        assert killed.poll() is None, killed.communicate()
        time.sleep(0.05)
    time.sleep(0.5)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    begun = {path.parent.name for path in tmp_path.glob("runs/*/*/result.json")}
    assert 2 <= len(begun) < 4
    again = search(tmp_path, *words)
    out, err = again.communicate()
    assert again.returncode == 0, err
    assert len(rows(out)) == 4
    added = {path.parent.name for path in tmp_path.glob("runs/*/*/result.json")} - begun
    untold = len(added) - (4 - len(begun))
    assert untold in (0, 1), "only a trial that ended as the search was killed, before its study knew, runs twice"
    whole = kdrun(*SEARCH, *CURVE, RATE, *words, f"store={tmp_path / 'other'}")
    assert rows(whole.out) == rows(out)


@pytest.mark.slow
def test_trials_in_other_processes_are_told_to_one_study(kdrun) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="pip install 'kdrun[cluster]'")
    words = (*SEARCH, *CURVE, RATE, "launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.sweeper.n_jobs=2")
    answer = kdrun(*words, "hydra.sweeper.n_trials=4")
    assert answer.code == 0, answer.err
    assert sorted(row[0].split()[0] for row in rows(answer.out)) == ["0", "1", "2", "3"]
    assert all(row[1].startswith(("finished", "pruned")) for row in rows(answer.out))
