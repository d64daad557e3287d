"""What turns while the program is being read goes away without a trace, and is not in logs."""

from __future__ import annotations

import io
import subprocess
import sys

from kdrun.runtime import spinner
from kdrun.runtime.reporters import make_reporter


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_it_turns_on_a_terminal_and_leaves_an_empty_line(monkeypatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    spinner.begin("kdrun run kd")
    spinner.begin("another")
    spinner.end()
    spinner.end()
    told = sys.stderr.getvalue()
    assert told.startswith("\r⠋ kdrun run kd")
    assert "another" not in told
    assert told.endswith("\r\x1b[K")


def test_a_log_hears_of_what_takes_a_moment_and_of_nothing_else(monkeypatch) -> None:
    monkeypatch.setattr(spinner, "PATIENCE", 3600)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    spinner.begin("kdrun run kd")
    spinner.end()
    assert sys.stderr.getvalue() == ""
    monkeypatch.setattr(spinner, "PATIENCE", 0)
    spinner.begin("kdrun run kd")
    assert spinner._thread is not None
    spinner._thread.join()
    spinner.end()
    assert sys.stderr.getvalue() == "kdrun run kd: reading the recipe, making ready\n"


def test_who_tells_lines_is_waited_for_until_the_first_one(monkeypatch) -> None:
    monkeypatch.setattr(spinner, "PATIENCE", 3600)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    spinner.begin("kdrun reproduce kd")
    reporter = make_reporter()
    assert spinner._thread is not None
    reporter.message("15 runs to do")
    assert spinner._thread is None
    assert sys.stderr.getvalue() == "15 runs to do\n"


def test_before_the_first_line_of_a_command_nothing_heavy_is_read() -> None:
    read = "import sys, kdrun.cli; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    found = subprocess.run([sys.executable, "-c", read], capture_output=True, text=True, check=True).stdout.split()
    assert "kdrun" in found
    assert not {"torch", "hydra", "omegaconf", "numpy", "pyarrow", "pydantic", "yaml", "rich"} & set(found)
