"""The live view: what every run is at, the time left of it all, and the file by which another terminal looks on."""

from __future__ import annotations

import io
import json
import os

import pytest
from rich.console import Console

from kdrun.runtime import board as boards
from kdrun.runtime import progress
from kdrun.runtime.board import Board, Row
from kdrun.runtime.journal import JOURNAL, Journal, read_journal
from kdrun.runtime.live import LiveReporter, view


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(boards.time, "monotonic", lambda: now[0])
    return now


def shown(rows: list[Row], left: float | None = None, **options) -> str:
    console = Console(file=io.StringIO(), width=160)
    console.print(view(rows, left, 10.0, **options))
    return console.file.getvalue()


def two_runs() -> Board:
    board = Board()
    board.sweep(["[kd seed 0]", "[a[/b] seed 0]"], 2)
    for label in ("[kd seed 0]", "[a[/b] seed 0]"):
        board.of(label).expected(["fit", "test"])
    return board


def test_every_run_stands_by_its_name_with_rate_and_time_left(clock) -> None:
    board = two_runs()
    board.of("[kd seed 0]").stage_started("fit", 1000, done=600)
    clock[0] += 20.0
    board.of("[kd seed 0]").advanced("fit", 800, loss=0.5)
    told = " ".join(shown(board.rows(), board.left()).split())
    assert "[kd seed 0] fit 1 of 2" in told
    assert "800/1000 10/s 20 s left loss 0.500" in told
    assert "[a[/b] seed 0] waiting" in told
    assert "1 running, 1 waiting" in told
    board.of("[a[/b] seed 0]").begun()
    assert "[a[/b] seed 0] making ready" in " ".join(shown(board.rows()).split())


def test_what_is_left_is_counted_by_stages_of_the_same_name(clock) -> None:
    board = two_runs()
    one, other = board.of("[kd seed 0]"), board.of("[a[/b] seed 0]")
    assert board.left() is None
    one.stage_started("fit", 100)
    other.stage_started("fit", 100)
    clock[0] += 10.0
    one.advanced("fit", 50)
    other.advanced("fit", 25)
    # of the first 10 s and a test, of the second 30 s and a test; a test is taken to be as long as the usual stage, 20 s
    assert board.left() == pytest.approx(50.0)
    one.stage_finished("fit", 20.0)
    one.stage_started("test")
    clock[0] += 2.0
    one.stage_finished("test", 2.0)
    one.ended()
    other.advanced("fit", 30)
    assert board.left() == pytest.approx(28.0 + 2.0)


def test_a_failure_is_told_in_a_line_and_stands_first_where_there_is_no_room(clock) -> None:
    rows = [Row(f"[kd seed {n}]", "finished") for n in range(50)] + [
        Row("[kd seed 50]", "failed", error="the loss became\nnan")
    ]
    told = shown(rows, height=10)
    assert "the loss became\\nnan" in told
    assert "and 45 more runs" in told


def test_a_screen_shows_what_comes_before_the_first_stage_until_that_begins() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    reporter = LiveReporter("[kd seed 0] ", console)
    try:
        reporter.preparing("planning")
        assert [row.stage for row in reporter.board.rows()] == ["planning"]
        reporter.stage_started("a[/b]c", 10)
        assert [row.stage for row in reporter.board.rows()] == ["a[/b]c"]
        reporter.stage_finished("a[/b]c", 1.0)
    finally:
        reporter.close()
    assert "[kd seed 0] a[/b]c" in console.file.getvalue()


def test_a_journal_is_read_by_another_process_and_hurts_no_run(tmp_path) -> None:
    journal = Journal(tmp_path, "kd")
    journal.sweep(["a", "b"], 1)
    journal.of("a").stage_started("fit", 10)
    journal.of("b").ended("no data")
    told, rows = read_journal(tmp_path)
    assert (told["title"], told["process"], told["closed"]) == ("kd", os.getpid(), False)
    assert [(row.label, row.state, row.error) for row in rows] == [("a", "running", None), ("b", "failed", "no data")]
    Journal(tmp_path / "nowhere").of("a").ended()


@pytest.mark.parametrize("rows", [[], 3, [{"label": 3}], [{"state": "dancing"}], [{"error": ["x"]}], [{"surplus": 1}]])
def test_a_file_that_no_run_wrote_is_none(tmp_path, rows) -> None:
    told = {"rows": rows, "started": 1.0, "updated": 2.0, "process": 3, "closed": True, "left": "soon"}
    (tmp_path / JOURNAL).write_text(json.dumps(told))
    found = read_journal(tmp_path)
    assert found is None if rows else found[0]["left"] is None


def test_watch_tells_how_a_sweep_stands_and_ends_with_it(kdrun, tmp_path) -> None:
    folder = tmp_path / "runs" / "kd" / "reproduce-small"
    folder.mkdir(parents=True)
    journal = Journal(folder, "kd at scale small")
    journal.sweep(["[kd seed 0]", "[kd seed 1]"], 2)
    journal.of("[kd seed 0]").stage_started("fit", 10)
    journal.of("[kd seed 1]").ended("the loss became nan")
    told = kdrun("watch", "--once")
    assert told.out.splitlines()[:3] == [
        "kd at scale small",
        "[kd seed 0] running fit 0/10",
        "[kd seed 1] failed the loss became nan",
    ]
    journal.of("[kd seed 0]").ended()
    journal.close()
    answer = kdrun("watch", "reproduce-small")
    assert answer.code == 1
    assert "kd at scale small: over" in answer.out
    assert "did you mean 'reproduce-small'?" in kdrun("watch", "reproduce-smal").err


def test_watch_sees_that_the_process_is_gone(kdrun, tmp_path) -> None:
    folder = tmp_path / "runs" / "kd" / "run"
    folder.mkdir(parents=True)
    Journal(folder, "kd").stage_started("fit", 10)
    text = (folder / JOURNAL).read_text()
    (folder / JOURNAL).write_text(text.replace(f'"process": {os.getpid()}', f'"process": {2**22 + 1}'))
    answer = kdrun("watch")
    assert answer.code == 1
    assert "the process is gone" in answer.out
