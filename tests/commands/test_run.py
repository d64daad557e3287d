"""``run``: figures, records, sweeps, Hydra's own flags, and what a failing or interrupted run says."""

from __future__ import annotations

import json
import subprocess
import sys

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
    answer = kdrun("run", "kd", "-m", "seed=0,1", "transfer=kd,none", *QUICK)
    assert answer.code == 0, answer.err
    assert answer.out.count(" test.accuracy") == 4


def test_a_multirun_sweeps_over_arms_scales_nodes_and_globs(kdrun, tmp_path) -> None:
    answer = kdrun("run", "kd", "-m", "arm=kd,scratch", "scale=smoke", "fit_student.epochs=1,2")
    assert answer.code == 0, answer.err
    assert answer.out.count(" test.accuracy") == 4
    assert "[arm=scratch scale=smoke fit_student.epochs=2] test.accuracy" in answer.out
    assert {p.name for p in tmp_path.iterdir()} == {"runs", "store"}, "nothing is left beside the records"
    methods = kdrun("run", "kd", "-m", "transfer=glob(label*)", *QUICK)
    assert "[transfer=label_smoothing epochs=1 data.limit=128] test.accuracy" in methods.out
    empty = kdrun("run", "kd", "-m", "transfer=glob(zzz*)", *QUICK)
    assert (empty.code, empty.out) == (2, "")
    assert "'transfer=glob(zzz*)' matches no option" in empty.err
    assert "add -m to run each" in kdrun("run", "kd", "epochs=1,2").err


def test_in_a_multirun_one_failing_job_does_not_stop_the_others(kdrun) -> None:
    answer = kdrun("run", "kd", "-m", "transfer=none", "optimizer.lr=1e30,0.05", *QUICK)
    assert answer.code == 1
    assert "the loss became" in answer.err
    assert answer.out.count(" test.accuracy") == 1


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


def test_jobs_that_fail_in_other_processes_fail_the_multirun(kdrun) -> None:
    answer = kdrun("run", "kd", "-m", "launcher=joblib", "arm=scratch", "optimizer.lr=1e30,2e30", *QUICK)
    assert answer.code == 1


def test_ctrl_c_says_how_to_go_on(kdrun, monkeypatch) -> None:
    from kdrun.engine.executor import Executor

    def interrupt(self, node, key):
        raise KeyboardInterrupt

    monkeypatch.setattr(Executor, "_compute", interrupt)
    answer = kdrun("run", "kd", *QUICK)
    assert answer.code == 130
    assert "kdrun run kd epochs=1 data.limit=128" in answer.err
