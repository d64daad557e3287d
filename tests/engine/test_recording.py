"""What a run leaves behind, however it ends, and that a resumed one goes on where its record stopped."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
import yaml

from kdrun.engine.recording import _Record, run_recorded
from kdrun.engine.records import write_record
from support.recipes import QUICK

STOPPING = '''
from kdrun.registry import tracker

class Stopping:
    def log(self, values, step, stage):
        if stage == "fit_student" and step > 2:
            raise KeyboardInterrupt
    def finish(self, summary):
        pass

@tracker
def stopping(folder, config):
    """Interrupts the run in the second epoch of the student."""
    return Stopping()
'''


def record_of(folder) -> dict:
    return json.loads((folder / "result.json").read_text())


def steps(folder, stage: str = "fit_student") -> list[int]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line["step"] for line in lines if line["stage"] == stage]


def test_a_failed_run_leaves_its_configuration_and_its_error(kdrun, tmp_path) -> None:
    answer = kdrun("run", "kd", "transfer=none", "optimizer.lr=1e30", *QUICK)
    assert answer.code == 1
    (folder,) = tmp_path.glob("runs/*/*")
    record = record_of(folder)
    assert record["state"] == "failed"
    assert "the loss became" in record["error"]
    assert record["error"] in answer.err
    assert yaml.safe_load((folder / "config.yaml").read_text())["optimizer"]["lr"] == 1e30
    assert json.loads((folder / "environment.json").read_text())["versions"]["torch"]
    assert "failed" in kdrun("runs").out
    assert "the loss became" in kdrun("list", "runs").out


def test_records_that_are_broken_stop_no_query(kdrun, tmp_path) -> None:
    kdrun("run", "kd", *QUICK)
    for name, content in {"cut": '{"recipe": "kd", "metr', "list": "[1, 2]", "odd": '{"metrics": 3}'}.items():
        folder = tmp_path / "runs" / "other" / name
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(content)
    for answer in (kdrun("runs"), kdrun("list", "runs"), kdrun("runs", "--json")):
        assert answer.code == 0, answer.err
        assert answer.out.count("cannot be read") == 3
        assert "test.accuracy" in answer.out
    assert len(kdrun("runs", "finished", "--json").out.splitlines()) == 1


@pytest.fixture
def interrupted(kdrun, tmp_path):
    """The folder of a run that was interrupted in the student's second epoch, and the words of it."""
    (tmp_path / "mine.py").write_text(STOPPING)
    words = ("run", "kd", "transfer=none", "epochs=3", "data.limit=128", "checkpoint_seconds=0")
    answer = kdrun(*words, "plugins=[mine.py]", "+tracker.tracker=stopping")
    assert answer.code == 130, answer.err
    (folder,) = tmp_path.glob("runs/*/*")
    return folder, words


def test_an_interrupted_run_goes_on_in_its_record(kdrun, tmp_path, interrupted) -> None:
    folder, words = interrupted
    assert record_of(folder)["state"] == "interrupted"
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"stage": "fit_stu')  # what a killed process left of a line
    assert kdrun(*words).code == 0
    assert list(tmp_path.glob("runs/*/*")) == [folder]
    assert record_of(folder)["state"] == "finished"
    assert steps(folder) == [2, 4, 6]


def test_another_run_begins_a_record_of_its_own(kdrun, tmp_path, interrupted) -> None:
    folder, words = interrupted
    assert kdrun(*words, "optimizer.lr=0.01").code == 0
    assert record_of(folder)["state"] == "interrupted"
    assert len(list(tmp_path.glob("runs/*/*"))) == 2


def test_a_run_whose_process_was_killed_counts_as_interrupted(kdrun, tmp_path, interrupted) -> None:
    folder, words = interrupted
    record = record_of(folder)
    (folder / "result.json").write_text(json.dumps({**record, "state": "running", "process": 2**22 + 1}))
    assert "interrupted the process ended without a word" in kdrun("runs").out
    assert kdrun(*words).code == 0
    assert list(tmp_path.glob("runs/*/*")) == [folder]


def test_of_equal_runs_at_once_one_goes_on_in_the_record(session, tmp_path, interrupted, monkeypatch) -> None:
    folder, words = interrupted
    begin, paths = _Record.begin, []
    rival = threading.Thread(target=lambda: paths.append(run_recorded(session("kd", *words[2:]))[1]))

    def while_another_one_starts(record) -> None:
        monkeypatch.setattr(_Record, "begin", begin)
        rival.start()
        rival.join(1)  # it finds a folder, unless it has to wait
        begin(record)

    monkeypatch.setattr(_Record, "begin", while_another_one_starts)
    paths.append(run_recorded(session("kd", *words[2:]))[1])
    rival.join()
    assert len(set(paths)) == 2
    assert folder.name in [path.name for path in paths]


def test_two_writers_of_one_record_do_not_meet(tmp_path, monkeypatch) -> None:
    replace, path = Path.replace, tmp_path / "result.json"

    def slowly(self, target):
        monkeypatch.setattr(Path, "replace", replace)
        write_record(path, {"by": "another"})
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", slowly)
    write_record(path, {"by": "one"})
    assert record_of(tmp_path) == {"by": "one"}
    assert list(tmp_path.iterdir()) == [path]


def test_curves_are_told_where_all_comes_from_the_store(kdrun, tmp_path) -> None:
    words = ("run", "kd", "transfer=none", "epochs=3", "data.limit=128")
    kdrun(*words)
    kdrun(*words)
    one, other = sorted(tmp_path.glob("runs/*/*"))
    assert steps(one) == steps(other) == [2, 4, 6]


def test_each_run_of_a_reproduction_has_its_record_and_curves(kdrun, tmp_path) -> None:
    words = ("reproduce", "kd", "scale=smoke", "seeds=2", "--arms", "kd,scratch")
    assert kdrun(*words, "--jobs", "2").code == 0
    folders = sorted(tmp_path.glob("runs/*/reproduce-smoke-arms=kd,scratch/*/"))
    assert [f.name for f in folders] == ["kd-seed0", "kd-seed1", "scratch-seed0", "scratch-seed1"]
    before = [(record_of(f), steps(f)) for f in folders]
    assert all(record["state"] == "finished" and told for record, told in before)
    assert len(kdrun("runs", "--json").out.splitlines()) == 4
    assert len(kdrun("runs", "arm=kd", "--json").out.splitlines()) == 2
    assert kdrun(*words).code == 0
    assert [(record_of(f), steps(f)) for f in folders] == before
