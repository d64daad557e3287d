"""``watch`` of a multirun: every job by what it has of its own, from what the jobs write, also when the process or its terminal is gone."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time

import pytest

from kdrun.engine.executor import Executor
from kdrun.engine.multirun_board import board_of
from kdrun.engine.multiruns import Multirun
from kdrun.errors import RunError
from kdrun.runtime.journal import Journal
from support.recipes import QUICK

SWEEP = ("run", "kd", "-m", "arm=scratch", "seed=0,1,2", *QUICK)


def test_a_multirun_that_is_over_is_told_job_by_job(kdrun, monkeypatch) -> None:
    compute = Executor._compute

    def disturbed(self, node, key):
        if self.keys.seed == 1:
            raise RunError("no room")
        return compute(self, node, key)

    monkeypatch.setattr(Executor, "_compute", disturbed)
    kdrun(*SWEEP)
    for words in (("--once",), ()):
        answer = kdrun("watch", *words)
        lines = answer.out.splitlines()
        assert answer.code == 1
        assert "distillation/kd -m arm=scratch seed=0,1,2 epochs=1 data.limit=128: over" in lines
        assert {"seed=0 finished", "seed=1 failed no room", "seed=2 finished"} < set(lines)
        assert lines[-1].startswith("1 failed, 2 finished, ")


def test_a_job_that_goes_on_shows_its_stage(kdrun, tmp_path) -> None:
    sweep = Multirun.begin(tmp_path / "runs", "kd", ["seed=0,1,2"])
    for seed in range(3):
        sweep.expect([f"seed={seed}"], f"seed={seed}")
    sweep.tell(["seed=0"], "seed=0", "finished")
    folder = tmp_path / "runs/kd/now-seed1"
    folder.mkdir()
    journal = Journal(folder)
    sweep.tell(["seed=1"], "seed=1", "running", records=folder.name)
    journal.stage_started("fit_student", 100, done=0)
    journal.begin("", "fit_student", 100, "steps", 40)
    told, rows = board_of(sweep)
    assert [(row.label, row.state, row.stage, row.done) for row in rows] == [
        ("seed=0", "finished", "", 0),
        ("seed=1", "running", "fit_student", 40),
        ("seed=2", "waiting", "", 0),
    ]
    assert not told["closed"]
    assert told["left"] is not None
    answer = kdrun("watch", "--once", str(sweep.folder))
    assert (answer.code, "seed=1 running fit_student 40/100" in answer.out) == (0, True)
    sweep.close()
    assert board_of(Multirun(sweep.folder))[0]["closed"]


def test_damage_in_a_record_is_no_end(tmp_path) -> None:
    sweep = Multirun.begin(tmp_path, "kd", ["seed=0,1"])
    sweep.expect(["seed=0"], "seed=0")
    sweep.tell(["seed=0"], "seed=0", "running")
    (state,) = sweep.folder.glob("job-*.json")
    state.write_text("{")
    (sweep.folder / "jobs.jsonl").open("a").write('{"overrides": 3}\n{')
    assert [(row.label, row.state) for row in board_of(sweep)[1]] == [("seed=0", "waiting")]
    state.write_text(json.dumps({"state": "dancing", "records": "../../etc"}))
    assert [row.state for row in board_of(sweep)[1]] == ["waiting"]
    assert sweep.states()[0].records == sweep.folder.parent / "etc"
    (sweep.folder / "multirun.json").write_text("[]")
    assert board_of(sweep) is None


def started(tmp_path, *words: str, **more: object) -> subprocess.Popen[bytes]:
    where = {"cwd": tmp_path, "env": {**os.environ, "KDRUN_STORE": str(tmp_path / "store")}, "start_new_session": True}
    return subprocess.Popen([sys.executable, "-m", "kdrun", *SWEEP, *words], **where, **more)


def wait_for_records(tmp_path, running: subprocess.Popen[bytes]) -> None:
    while not list(tmp_path.glob("runs/*/*/progress.json")):
        assert running.poll() is None
        time.sleep(0.05)


@pytest.mark.slow
def test_a_hang_up_leaves_a_record_that_says_how_far_it_came(kdrun, tmp_path) -> None:
    running = started(tmp_path, "epochs=400", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for_records(tmp_path, running)
    assert "seed=0 running" in kdrun("watch", "--once").out
    running.send_signal(signal.SIGHUP)
    running.wait()
    answer = kdrun("watch")
    assert answer.code == 1
    assert "the process is gone" in answer.out
    assert "seed=0 failed interrupted: the process ended without a word" in answer.out
    assert "seed=2 waiting" in answer.out


@pytest.mark.slow
def test_runs_go_on_when_their_terminal_is_closed(kdrun, tmp_path) -> None:
    terminal, inside = pty.openpty()
    running = started(tmp_path, stdin=inside, stdout=inside, stderr=inside)
    os.close(inside)
    wait_for_records(tmp_path, running)
    os.close(terminal)
    assert running.wait() == 0
    assert kdrun("watch").out.splitlines()[-1].startswith("3 finished, ")
