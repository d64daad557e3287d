"""``run``: figures, records, sweeps, Hydra's own flags, and what a failing or interrupted run says."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import ClassVar

import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper

from support.recipes import QUICK


def test_run_prints_metrics_and_leaves_records(kdrun, tmp_path) -> None:
    answer = kdrun("run", "kd", *QUICK)
    assert answer.code == 0, answer.err
    assert "test.accuracy" in answer.out
    (result,) = tmp_path.glob("runs/*/*/result.json")
    record = json.loads(result.read_text())
    assert 0 <= record["metrics"]["test.accuracy"] <= 1
    assert {p.name for p in result.parent.iterdir()} >= {
        "config.yaml",
        "environment.json",
        "keys.json",
        "metrics.jsonl",
    }
    assert "stages computed: 0" in kdrun("run", "kd", *QUICK).out


def test_multirun_runs_every_combination(kdrun) -> None:
    answer = kdrun("run", "kd", "-m", "seed=0,1", "transfer=kd,none", "teacher.channels=[8, 16]", *QUICK)
    assert answer.code == 0, answer.err
    assert answer.out.count(" test.accuracy") == 5
    assert "epochs" not in answer.out
    assert "channels" not in answer.out  # what all jobs share is not repeated
    header, _, *rows = answer.out.split("\n\n")[-1].splitlines()
    assert header.split() == ["swept", "seeds", "test.accuracy", "test.nll"]
    assert [row.split()[:2] for row in rows] == [["transfer=kd", "2"], ["transfer=none", "2"]]
    assert all("±" in row for row in rows)


def test_a_multirun_sweeps_over_arms_scales_nodes_and_globs(kdrun, tmp_path) -> None:
    answer = kdrun("run", "kd", "-m", "arm=kd,scratch", "scale=smoke", "fit_student.epochs=1,2")
    assert answer.code == 0, answer.err
    assert answer.out.count("] test.accuracy") == 4
    assert "[arm=scratch fit_student.epochs=2] test.accuracy" in answer.out
    assert {p.name for p in tmp_path.iterdir()} == {"runs", "store"}, "nothing is left beside the records"
    methods = kdrun("run", "kd", "-m", "transfer=glob(label*)", *QUICK)
    assert "[transfer=label_smoothing] test.accuracy" in methods.out
    empty = kdrun("run", "kd", "-m", "transfer=glob(zzz*)", *QUICK)
    assert (empty.code, empty.out) == (2, "")
    assert "'transfer=glob(zzz*)' matches no option" in empty.err
    assert "add -m to run each" in kdrun("run", "kd", "epochs=1,2").err


def test_in_a_multirun_one_failing_job_does_not_stop_the_others(kdrun) -> None:
    answer = kdrun("run", "kd", "-m", "transfer=none", "optimizer.lr=1e30,0.05", *QUICK)
    assert answer.code == 1
    assert "kdrun: optimizer.lr=1e+30: " in answer.err
    assert "the loss became" in answer.err
    assert answer.out.count("] test.accuracy") == 1


def test_a_multirun_takes_settings_that_only_its_options_have_and_flags_anywhere(kdrun) -> None:
    answer = kdrun("run", "kd", *QUICK, "-m", "transfer=choice(attention)", "transfer.attention_weight=3")
    assert answer.code == 0, answer.err
    answer = kdrun("run", "kd", "-m", "transfer=choice(attention)", "transfer.attention_weigh=3")
    assert (answer.code, "did you mean" in answer.err) == (2, True)
    answer = kdrun("run", "kd", "--nope")
    assert (answer.code, answer.err) == (2, "kdrun: unrecognized arguments: --nope; see kdrun run --help\n")


def test_plan_and_run_tell_of_a_last_batch_too_small_for_its_statistics(kdrun) -> None:
    small = ("kd", "epochs=1", "teacher_epochs=1", "batch_size=64", "data.limit=66")
    told = "fit_student: batch statistics of the 2 rows"
    assert told in kdrun("plan", *small).out
    assert told in kdrun("run", *small).err
    without = [*small, "+graph.fit_student.drop_last=true", "+graph.fit_teacher.drop_last=true"]
    assert "batch statistics" not in kdrun("plan", *without).out
    assert "batch statistics" not in kdrun("run", *without).err


def test_hydras_own_flags_work(kdrun) -> None:
    answer = kdrun("run", "kd", "transfer.temperature=2", "--cfg", "job")
    assert answer.code == 0
    assert "temperature: 2" in answer.out
    info = subprocess.run(
        [sys.executable, "-m", "kdrun", "run", "kd", "--info", "searchpath"], capture_output=True, text=True
    )
    assert "Config search path" in info.stdout


def test_no_library_that_composes_warns_a_user() -> None:
    """The newest ones warn of what earlier ones need: a version that behaviour is based on, other names of functions."""
    words = [sys.executable, "-W", "error", "-m", "kdrun", "run", "kd", "arm=scratch", "--cfg", "job"]
    answer = subprocess.run(words, capture_output=True, text=True)
    assert (answer.returncode, answer.stderr) == (0, "")


@pytest.mark.slow
def test_jobs_that_fail_in_other_processes_fail_the_multirun(kdrun) -> None:
    """They are named, and what the others gave stands in the same table as under the basic launcher."""
    words = ("run", "kd", "-m", "arm=scratch", "optimizer.lr=1e30,0.05", *QUICK)
    tables = []
    for launcher in ("joblib", "basic"):
        answer = kdrun(*words, f"launcher={launcher}")
        assert answer.code == 1
        count, cause, again = answer.err.splitlines()[-3:]
        assert count == "kdrun: 1 of 2 jobs failed:"
        assert cause.startswith("  optimizer.lr=1e+30: ")
        assert "the loss became" in cause
        assert again == "again, these alone: kdrun run kd -m --retry-failed"
        tables.append(answer.out.split("\nswept ")[1].splitlines())
    assert tables[0] == tables[1]
    assert "test.accuracy" in tables[0][0]
    assert tables[0][2].startswith("optimizer.lr=0.05")


def test_ctrl_c_says_how_to_go_on(kdrun, monkeypatch) -> None:
    from kdrun.engine.executor import Executor

    def interrupt(self, node, key):
        raise KeyboardInterrupt

    monkeypatch.setattr(Executor, "_compute", interrupt)
    answer = kdrun("run", "kd", *QUICK)
    assert answer.code == 130
    assert "kdrun run kd epochs=1 data.limit=128" in answer.err


def test_the_objective_is_named_last_and_checked_first(kdrun, tmp_path) -> None:
    answer = kdrun("run", "kd", *QUICK)
    assert "objective: maximize valid.accuracy: 0." in answer.out.splitlines()[-2]
    loss = kdrun("run", "kd", "objective={metric: test.nll, goal: minimize}", *QUICK)
    assert "objective: minimize test.nll: " in loss.out
    unstated = kdrun("run", "kd", "objective=null", *QUICK)
    assert "objective: valid.accuracy: 0." in unstated.out
    assert "no objective is stated: the first of 2 numbers in 'valid'; objective=METRIC chooses" in unstated.out
    assert "objective:" not in kdrun("run", "kd", "skip=[valid]", *QUICK).out, "it goes with the node that measures it"
    runs = {p.name for p in tmp_path.glob("runs/*/*")}
    for command in ("run", "check", "plan"):
        answer = kdrun(command, "kd", "objective=valid.acuracy")
        assert answer.code == 2
        assert "objective: nothing here measures 'valid.acuracy' (did you mean 'valid.accuracy'?)" in answer.err
    assert {p.name for p in tmp_path.glob("runs/*/*")} == runs


class TwoPoints(Sweeper):
    """An optimizing sweeper in small: it runs two points and keeps what it was told and given."""

    __module__ = "hydra_plugins.two_points"  # Hydra takes plug-ins from there alone
    seen: ClassVar[list[tuple[str, list[float]]]] = []

    def __init__(self, direction: str) -> None:
        self.direction = direction

    def setup(self, *, hydra_context, task_function, config) -> None:
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments) -> None:
        jobs = self.launcher.launch([[*arguments, f"optimizer.lr={rate}"] for rate in (0.01, 0.1)], initial_job_idx=0)
        self.seen.append((self.direction, [job.return_value for job in jobs]))


def test_an_optimizing_sweeper_gets_the_objectives_number_and_its_goal(kdrun, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, TwoPoints.__module__, sys.modules[__name__])
    Plugins.instance().register(TwoPoints)
    node = {"_target_": f"{TwoPoints.__module__}.TwoPoints", "direction": "minimize"}
    ConfigStore.instance().store(group="hydra/sweeper", name="two_points", node=node)
    answer = kdrun("run", "kd", "-m", "hydra/sweeper=two_points", *QUICK)
    assert answer.code == 0, answer.err
    loss = "objective={metric: valid.nll, goal: minimize}"
    answer = kdrun("run", "kd", "-m", "hydra/sweeper=two_points", loss, *QUICK)
    assert answer.code == 0, answer.err
    (first, accuracies), (second, losses) = TwoPoints.seen
    assert (first, second) == ("maximize", "minimize")
    assert all(0 < value < 1 for value in accuracies)
    assert all(value > 1 for value in losses)
    assert f"valid.nll: {losses[1]:.4f}" in answer.out
