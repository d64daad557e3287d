"""``kdrun watch [RUN|SWEEP]``: look on from another terminal. What the run writes is read; nothing is asked of it."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kdrun.commands.arguments import Parser
from kdrun.commands.output import say
from kdrun.engine.multirun_board import board_of
from kdrun.engine.multiruns import MULTIRUN, Multirun
from kdrun.errors import InputError, nearest, printable
from kdrun.runtime.board import Row
from kdrun.runtime.journal import JOURNAL, read_journal
from kdrun.runtime.live import summary, view
from kdrun.runtime.progress import duration

__all__ = ["main"]

SECONDS = 0.25
"""Between two looks at the file."""

LINE_SECONDS = 10.0
"""Between two lines about a run that goes on, where there is no terminal."""


def main(arguments: Sequence[str]) -> int:
    parser = Parser(
        prog="kdrun watch", description="Look on while a run, a multirun or a reproduction goes on, from any terminal."
    )
    parser.add_argument(
        "run",
        nargs="?",
        help="the folder of a run, a multirun or a reproduction, or the end of its name (default: the newest)",
    )
    parser.add_argument("--runs", type=os.path.expanduser, default="runs", help="the folder of records")
    parser.add_argument("--once", action="store_true", help="say how it stands and end")
    options = parser.parse_args(list(arguments))
    folder = _folder(options.run, Path(options.runs))
    if options.once:
        told, rows = _read(folder)
        say(_lines(told, rows))
    elif sys.stdout.isatty():
        _on_terminal(folder)
    else:
        _in_lines(folder)
    told, rows = _read(folder)
    bad = [row for row in rows if row.state == "failed"]
    return 1 if bad or (not told["closed"] and _is_gone(told)) else 0


def _read(folder: Path) -> tuple[dict[str, Any], list[Row]]:
    found = board_of(Multirun(folder)) if (folder / MULTIRUN).is_file() else read_journal(folder)
    if found is None:
        raise InputError(f"{folder} has nothing that a run writes while it goes on")
    return found


def _folder(name: str | None, runs: Path) -> Path:
    """The folder that is meant: of those under ``runs`` the newest, or the newest whose path ends so. Raises ``InputError``."""
    if name is not None and any((Path(name).expanduser() / file).is_file() for file in (JOURNAL, MULTIRUN)):
        return Path(name).expanduser()
    patterns = [f"{'*/' * depth}{file}" for depth in (2, 3) for file in (JOURNAL, MULTIRUN)]
    found = [path for pattern in patterns for path in runs.glob(pattern) if not path.is_symlink()]
    ends = Path(name).parts if name is not None else ()
    meant = [path for path in found if path.parent.parts[-len(ends) :] == ends or not ends]
    if not meant:
        near = nearest(name, [path.parent.name for path in found]) if name is not None else ""
        raise InputError(
            f"nothing under {runs}/ says that it is, or was, under way{f' as {name!r}' if name else ''}{near}"
        )
    return max(meant, key=_age).parent


def _age(path: Path) -> tuple[float, int]:
    """By when it was written, a whole sweep before one of its runs."""
    with contextlib.suppress(OSError):
        if path.name == MULTIRUN:
            return round(Multirun(path.parent).updated() / 5), 1
        return round(path.stat().st_mtime / 5), -len(path.parts)
    return 0.0, 0


def _is_gone(told: dict[str, Any]) -> bool:
    """Whether the process that writes is no more, as far as this machine can tell."""
    if told.get("machine") != platform.node():
        return False
    try:
        os.kill(int(told["process"]), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _over(told: dict[str, Any]) -> bool:
    return bool(told["closed"]) or _is_gone(told)


def _heading(told: dict[str, Any]) -> str:
    quiet = time.time() - told["updated"]
    state = "over" if told["closed"] else "the process is gone" if _is_gone(told) else ""
    silent = f"no news for {duration(quiet)}" if not state and quiet > 60 else ""
    return ": ".join(filter(None, (printable(told.get("title", ""), line=True), state or silent)))


def _elapsed(told: dict[str, Any]) -> float:
    end = told["updated"] if _over(told) else time.time()
    return max(float(end) - float(told["started"]), 0.0)


def _left(told: dict[str, Any]) -> float | None:
    if told["left"] is None or _over(told):
        return None
    return max(float(told["left"]) - (time.time() - told["updated"]), 0.0)


def _on_terminal(folder: Path) -> None:
    from rich.console import Console
    from rich.live import Live

    console = Console()
    with Live(console=console, refresh_per_second=8, vertical_overflow="crop") as live:
        while True:
            told, rows = _read(folder)
            live.update(view(rows, _left(told), _elapsed(told), height=console.height - 1, title=_heading(told)))
            if _over(told):
                return
            time.sleep(SECONDS)


def _lines(told: dict[str, Any], rows: Sequence[Row]) -> str:
    return "\n".join([_heading(told), *map(_line, rows), summary(rows, _left(told), _elapsed(told))])


def _line(row: Row) -> str:
    place = f"{row.done}/{row.total}" if row.total else ""
    left = f"{duration(row.left)} left" if row.left is not None else ""
    at = ", ".join(filter(None, (f"{row.stage} {place}".strip(), row.rate, left))) if row.state == "running" else ""
    return printable(" ".join(filter(None, (row.label, row.state, row.error or at))), line=True)


def _in_lines(folder: Path) -> None:
    """A line for each run that changes its state or stage, and now and then one about what goes on."""
    known: dict[str, tuple[str, str]] = {}
    last = time.monotonic()
    while True:
        told, rows = _read(folder)
        for row in rows:
            if known.get(row.label) != (row.state, row.stage):
                known[row.label] = (row.state, row.stage)
                say(_line(row))
        if time.monotonic() - last >= LINE_SECONDS:
            last = time.monotonic()
            say(
                "\n".join(
                    [
                        *(_line(row) for row in rows if row.state == "running"),
                        summary(rows, _left(told), _elapsed(told)),
                    ]
                )
            )
        sys.stdout.flush()
        if _over(told):
            say("\n".join([_heading(told), summary(rows, _left(told), _elapsed(told))]))
            return
        time.sleep(SECONDS)
