"""What files, records and stores bring is shown and does nothing else: no text of theirs reaches the terminal as it is."""

from __future__ import annotations

import ast
import json
import os
from pathlib import Path

import pytest

import kdrun
from kdrun.errors import printable
from kdrun.report.tables import text_table
from kdrun.runtime.progress import PlainReporter

STEERS = "a\x1b[31mb\u202ec\u200bd\x07"


def sound(text: str) -> bool:
    return printable(text) == text


def test_commands_print_through_one_function() -> None:
    """``say`` and rich's console, whose texts are made printable before."""
    folder = Path(kdrun.__file__).parent / "commands"
    for path in folder.glob("*.py"):
        calls = [n for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Call)]
        plain = [n for n in calls if isinstance(n.func, ast.Name) and n.func.id == "print"]
        assert not plain, path


def test_records_cannot_steer_a_terminal(kdrun, tmp_path) -> None:
    run = tmp_path / "runs" / "kd" / STEERS
    run.mkdir(parents=True)
    record = {
        "recipe": STEERS,
        "state": STEERS,
        "error": STEERS,
        "overrides": [STEERS],
        "metrics": {f"test.{STEERS}": 1.0},
    }
    (run / "result.json").write_text(json.dumps(record))
    for command in (("runs",), ("runs", "--json"), ("list", "runs"), ("runs", "--sort", f"test.{STEERS}")):
        answer = kdrun(*command)
        assert answer.code == 0
        assert "\\x1b[31m" in answer.out or "\\u001b[31m" in answer.out
        assert sound(answer.out)


def test_an_entry_of_a_table_stays_in_its_line() -> None:
    table = text_table(["arm\n", "seeds"], [[f"{STEERS}\nfalse  1.0", "1"]])
    assert len(table.splitlines()) == 3
    assert sound(table)


def test_comments_of_files_in_the_working_folder_are_listed_as_they_read(kdrun, tmp_path) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "mine.yaml").write_text("# a\u202eb\u200bc\nepochs: 1\n", encoding="utf-8")
    answer = kdrun("list", "papers", "mine")
    assert "a\\u202eb\\u200bc" in answer.out
    assert sound(answer.out)


def test_files_that_cannot_be_read_stop_no_list(kdrun, tmp_path) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "conf" / "transfer" / "distillation").mkdir(parents=True)
    (tmp_path / "conf" / "model").mkdir(parents=True)
    places = [tmp_path / "recipes", tmp_path / "conf" / "transfer" / "distillation", tmp_path / "conf" / "model"]
    for folder in places:
        (folder / "latin.yaml").write_bytes("# caf\u00e9\nx: \u00e9\n".encode("latin-1"))
        (folder / "wide.yaml").write_text("# wide\nx: 1\n", encoding="utf-16")
        (folder / "marked.yaml").write_text("# marked\nx: 1\n", encoding="utf-8-sig")
        (folder / "folder.yaml").mkdir()
        (folder / "broken.yaml").write_text("x: [\n")
        (folder / "list.yaml").write_text("- 1\n")
        os.mkfifo(folder / "pipe.yaml")
    for topic in ("papers", "methods", "groups"):
        answer = kdrun("list", topic)
        assert answer.code == 0, answer.err
        assert "marked" in answer.out
        assert "broken" in answer.out
    for name in ("latin", "wide", "folder", "broken", "list", "pipe"):
        answer = kdrun("check", f"recipes/{name}.yaml")
        assert (answer.code, answer.err.count("\n")) == (2, 1), answer.err


def test_methods_that_build_on_each_other_stop_no_list(kdrun, tmp_path) -> None:
    folder = tmp_path / "conf" / "transfer" / "distillation"
    folder.mkdir(parents=True)
    (folder / "one.yaml").write_text("defaults: [distillation/two]\n")
    (folder / "two.yaml").write_text("defaults: [distillation/one]\n")
    answer = kdrun("list", "methods", "distillation/one")
    assert "these build on each other: distillation/one -> distillation/two -> distillation/one" in answer.out


def test_an_error_is_one_line_whatever_it_quotes(kdrun) -> None:
    answer = kdrun("check", f"no{STEERS}\nsuch")
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert sound(answer.err)


def test_progress_shows_names_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = PlainReporter(f"[{STEERS}] ")
    reporter.message(f"{STEERS}\nmore")
    reporter.stage_finished(STEERS, 1.0)
    told = capsys.readouterr().err
    assert told.count("\n") == 2
    assert sound(told)


class Fault(Exception):
    """Of a kind that nobody raises on purpose."""


@pytest.fixture
def faulty(monkeypatch):
    """A command that raises something."""
    from kdrun.commands import doctor_

    def raising(error: Exception) -> None:
        def main(arguments) -> int:
            raise error

        monkeypatch.setattr(doctor_, "main", main)

    return raising


def test_a_fault_of_kdrun_is_a_line_that_asks_to_report_it(kdrun, faulty, monkeypatch, tmp_path) -> None:
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    faulty(Fault(f"odd\n{STEERS}"))
    answer = kdrun("doctor")
    assert (answer.code, answer.err.count("\n")) == (1, 1)
    assert "a fault of kdrun itself: Fault: odd" in answer.err
    (kept,) = tmp_path.glob("kdrun-*.txt")
    assert str(kept) in answer.err
    assert "Traceback" in kept.read_text()
    monkeypatch.setenv("KDRUN_TRACEBACK", "1")
    assert "Traceback" in kdrun("doctor").err


def test_what_is_no_fault_of_kdrun_is_not_called_one(kdrun, faulty) -> None:
    for error, code, told in (
        (RecursionError("deep"), 2, "nested too deeply"),
        (MemoryError(), 1, "not enough memory"),
        (PermissionError(13, "Permission denied", "some/file"), 2, "cannot use some/file: Permission denied"),
    ):
        faulty(error)
        answer = kdrun("doctor")
        assert (answer.code, answer.err.count("\n"), told in answer.err) == (code, 1, True)
        assert "fault of kdrun" not in answer.err
