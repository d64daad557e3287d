"""What is said of an error that nobody raised on purpose: a line, and where the rest stands."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback

from kdrun.commands.output import say
from kdrun.errors import printable
from kdrun.registry.blame import in_plugin

__all__ = ["LONGEST", "in_a_line", "unexpected"]

LONGEST = 1500
"""Characters of a line of error."""


def in_a_line(text: object) -> str:
    """The text as one line that a person can read; what is too long loses its middle."""
    line = printable(text, line=True)
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 300]} … {line[-300:]}"


def unexpected(error: Exception) -> int:
    """Say what happened in one line and return the exit code. ``KDRUN_TRACEBACK=1`` shows where, else a file has it."""
    shown = bool(os.environ.get("KDRUN_TRACEBACK"))
    if shown:
        say("".join(traceback.format_exception(error)), file=sys.stderr)
    if isinstance(error, RecursionError):
        return _said("something in what was read is nested too deeply, or names itself", 2)
    if isinstance(error, MemoryError) or "not enough memory" in str(error) or "out of memory" in str(error):
        return _said(f"there is not enough memory: {str(error) or type(error).__name__}", 1)
    if isinstance(error, OSError) and error.filename is not None:
        return _said(f"cannot use {error.filename}: {error.strerror}", 2)
    where = "" if shown else f" with {_kept(error)}"
    if (plugins := in_plugin(error)) is not None:
        return _said(f"{plugins[1]}: {plugins[0]}{where.replace(' with ', '; all of it is in ', 1)}", 2)
    told = f"{type(error).__name__}: {error}".removesuffix(": ")
    return _said(f"an unexpected error, a fault of kdrun itself: {told}; please report it{where}", 1)


def _said(text: str, code: int) -> int:
    say(f"kdrun: {in_a_line(text)}", file=sys.stderr)
    return code


def _kept(error: Exception) -> str:
    """A file with the traceback, or how to see it where none can be written."""
    try:
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", prefix="kdrun-", suffix=".txt", delete=False) as file:
            file.write(printable("".join(traceback.format_exception(error))))
    except OSError:
        return "what KDRUN_TRACEBACK=1 shows"
    return file.name
