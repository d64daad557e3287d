"""What turns while the program is being read goes away without a trace, and is not in logs."""

from __future__ import annotations

import io
import sys

from kdrun.runtime import spinner


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


def test_a_log_hears_nothing(monkeypatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    spinner.begin("kdrun run kd")
    spinner.end()
    assert sys.stderr.getvalue() == ""
