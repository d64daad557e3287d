"""What a run leaves behind, however it ends, and that a resumed one goes on where its record stopped."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from pathlib import Path

import pytest
import yaml

from kdrun.engine.recording import _Record, run_recorded
from kdrun.engine.records import RECORDS, recorded_whole, write_record
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


@pytest.mark.parametrize("left", [None, "[", '{"confusion": {}}'])
def test_what_pages_show_is_written_again_from_the_store(session, left: str | None) -> None:
    first = session("kd", *QUICK, "+add=confusion")
    _, folder = run_recorded(first, Path("record"))
    shown = (folder / "shown.json").read_text()
    (folder / "shown.json").unlink() if left is None else (folder / "shown.json").write_text(left)
    outcome, _ = run_recorded(session("kd", *QUICK, "+add=confusion"), Path("record"))
    assert outcome.counts["computed"] == 0
    assert (folder / "shown.json").read_text() == shown


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


def damaged(path: Path, way: str) -> None:
    """Put something else in the place of a file or folder."""
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    if way == "file":
        path.write_text("something else")
    elif way == "folder":
        path.mkdir()
        (path / "something").write_text("else")
    elif way == "link":
        path.symlink_to(path.parent / "nowhere")


@pytest.fixture
def recorded(session, tmp_path):
    """Runs of a study: each call records the same one in the same folder, and gives that."""
    folder = tmp_path / "runs" / "distillation-kd" / "study" / "kd-seed0"
    return lambda: run_recorded(session("kd", *QUICK, f"runs={tmp_path / 'runs'}"), folder)[1]


def test_what_stands_where_a_folder_of_records_is_expected_is_set_aside(recorded, tmp_path) -> None:
    folder = recorded()
    places = [place for place in (folder, *folder.parents) if place.is_relative_to(tmp_path / "runs")][:-1]
    for place in places:
        for way in ("gone", "file", "link"):
            damaged(place, way)
            recorded()
            assert record_of(folder)["state"] == "finished"
            assert steps(folder)
    reasons = [p.read_text() for p in tmp_path.glob("runs/corrupt/*.reason.txt")]
    assert len(reasons) == 2 * len(places)
    assert all(": a folder is expected here" in reason for reason in reasons)


@pytest.mark.parametrize("way", ["gone", "file", "folder", "link"])
def test_any_record_that_was_damaged_is_written_again(recorded, way) -> None:
    folder = recorded()
    for name in RECORDS:
        damaged(folder / name, way)
        recorded()
        assert recorded_whole(folder)
        assert record_of(folder)["state"] == "finished"


def test_a_file_in_the_place_of_runs_itself_stays_and_is_told(kdrun, tmp_path) -> None:
    (tmp_path / "runs").write_text("mine")
    answer = kdrun("run", "kd", *QUICK)
    assert answer.code == 2
    assert "cannot write runs" in answer.err
    assert (tmp_path / "runs").read_text() == "mine"


def test_what_writers_left_a_day_ago_is_tidied_away(session, tmp_path) -> None:
    words = (*QUICK, f"runs={tmp_path / 'runs'}")
    folder = run_recorded(session("kd", *words))[1]
    left = {f"result.json.{'1' * 32}.part": 23, f"result.json.{'2' * 32}.part": 25, f"curves.json.{'3' * 32}.part": -25}
    for name, hours in {**left, "mine.part": 100}.items():
        (folder / name).write_text("{")
        then = time.time() - hours * 3600
        os.utime(folder / name, (then, then))
    run_recorded(session("kd", *words))
    assert sorted(path.name for path in folder.glob("*.part")) == ["mine.part", f"result.json.{'1' * 32}.part"]
