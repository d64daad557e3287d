"""What is under way, run by run and stage by stage, and how long it will take: kept from what a reporter hears."""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from kdrun.errors import printable
from kdrun.runtime.progress import Pace, Reporter

__all__ = ["Board", "Row"]

FIGURES = 3
"""How many figures of a stage are shown."""

MESSAGES = 5
"""How many of the last messages are kept."""


@dataclass
class Row:
    """One run: what it is at. ``state`` is waiting, running, finished or failed; ``left`` are seconds to the end of the stage, or of
    the run where it is not at one. A single run has no label."""

    label: str = ""
    state: str = "waiting"
    stage: str = ""
    done: int = 0
    total: int | None = None
    rate: str = ""
    left: float | None = None
    figures: dict[str, float] = field(default_factory=dict)
    stages_done: int = 0
    stages: int = 0
    error: str | None = None


class _Run:
    """What was heard of one run."""

    def __init__(self) -> None:
        self.state = "waiting"
        self.expected: list[str] = []
        self.paces: dict[str, Pace] = {}
        self.done: dict[str, int] = {}
        self.figures: dict[str, dict[str, float]] = {}
        self.over: dict[str, float] = {}
        self.preparing = ""
        self.error: str | None = None

    def row(self, label: str) -> Row:
        stage = next(reversed(self.paces), "")
        pace = self.paces.get(stage)
        done = self.done.get(stage, 0)
        found = Row(label, self.state, stage or self.preparing, done, error=self.error)
        found.stages_done, found.stages = len(self.over), len({*self.expected, *self.over, *self.paces})
        if pace is not None:
            found.total, found.rate, found.left = pace.total, pace.told(done), pace.left(done)
            found.figures = dict(list(self.figures.get(stage, {}).items())[:FIGURES])
        return found


class Board(Reporter):
    """Hears of one run, or of several by ``of``; ``rows`` and ``left`` tell how it stands. May be read by another thread."""

    def __init__(self, title: str = "") -> None:
        self.title = title
        self.started = time.time()
        self.workers = 1
        self.messages: list[str] = []
        self.closed = False
        self._lock = threading.RLock()
        self._runs: dict[str, _Run] = {}

    def preparing(self, text: str) -> None:
        with self._lock:
            self._run("").preparing = text
            self._run("").state = "running"

    def sweep(self, labels: Sequence[str], workers: int) -> None:
        with self._lock:
            self._runs = {label: _Run() for label in labels}
            self.workers = workers

    def of(self, label: str) -> Reporter:
        return _Part(self, label)

    def expected(self, stages: Sequence[str]) -> None:
        self.expect("", stages)

    def stage_started(self, name: str, total: int | None = None, unit: str = "steps", done: int = 0) -> None:
        self.begin("", name, total, unit, done)

    def advanced(self, name: str, done: int, **values: float) -> None:
        self.advance("", name, done, values)

    def stage_finished(self, name: str, seconds: float) -> None:
        self.finish("", name, seconds)

    def cached(self, name: str) -> None:
        self.finish("", name, None)

    def begun(self) -> None:
        self.give("")

    def postponed(self) -> None:
        self.postpone("")

    def ended(self, error: str | None = None) -> None:
        self.end("", error)

    def message(self, text: str) -> None:
        with self._lock:
            self.messages = [*self.messages, printable(text, line=True)][-MESSAGES:]

    def close(self) -> None:
        self.closed = True

    def _run(self, label: str) -> _Run:
        return self._runs.setdefault(label, _Run())

    def expect(self, label: str, stages: Sequence[str]) -> None:
        """The first telling counts: in a sweep, that of the whole, where a stage that several share stands with one of them."""
        with self._lock:
            run = self._run(label)
            run.expected = run.expected or list(stages)

    def give(self, label: str) -> None:
        """A process has it, and makes ready."""
        with self._lock:
            run = self._run(label)
            run.state, run.preparing = "running", "making ready"

    def begin(self, label: str, name: str, total: int | None, unit: str, done: int) -> None:
        with self._lock:
            run = self._run(label)
            run.state, run.preparing = "running", ""
            run.paces.pop(name, None)  # a stage that says how many steps it has begins anew, as the last one
            run.paces[name], run.done[name] = Pace(done, total, unit), done

    def advance(self, label: str, name: str, done: int, values: dict[str, float]) -> None:
        with self._lock:
            run = self._run(label)
            run.done[name] = done
            if values:
                run.figures[name] = values

    def finish(self, label: str, name: str, seconds: float | None) -> None:
        """``seconds`` is None for a result that was in the store."""
        with self._lock:
            run = self._run(label)
            run.paces.pop(name, None)
            if seconds is None:
                run.expected = [stage for stage in run.expected if stage != name]
            else:
                run.over[name] = seconds

    def postpone(self, label: str) -> None:
        """It has no process for now."""
        with self._lock:
            run = self._run(label)
            run.state, run.preparing = "waiting", ""
            run.paces.clear()

    def end(self, label: str, error: str | None) -> None:
        with self._lock:
            run = self._run(label)
            run.state, run.error = ("finished" if error is None else "failed"), error
            run.paces.clear()

    def rows(self) -> list[Row]:
        """A row a run, in their order."""
        with self._lock:
            return [run.row(label) for label, run in self._runs.items()]

    def left(self) -> float | None:
        """Seconds until all is done, as far as stages of the same name have shown how long they take; None before that."""
        with self._lock:
            known = self._lengths()
            if not known:
                return None
            usual = sum(known.values()) / len(known)
            each = [self._left_of(run, known, usual) for run in self._runs.values() if run.state in _OPEN]
            return max(sum(each) / max(min(self.workers, len(each)), 1), *each) if each else 0.0

    def _lengths(self) -> dict[str, float]:
        """By name, how many seconds stages took, or those that are running will."""
        found: dict[str, list[float]] = {}
        for run in self._runs.values():
            for name, seconds in run.over.items():
                found.setdefault(name, []).append(seconds)
        for run in self._runs.values():
            for name, pace in run.paces.items():
                rate = pace.rate(run.done.get(name, 0))
                if name not in found and pace.total and rate:
                    found[name] = [pace.total / rate]
        return {name: sum(several) / len(several) for name, several in found.items()}

    def _left_of(self, run: _Run, known: dict[str, float], usual: float) -> float:
        found = 0.0
        for name in dict.fromkeys([*run.expected, *run.paces]):
            pace = run.paces.get(name)
            left = pace.left(run.done.get(name, 0)) if pace is not None else None
            if left is not None:
                found += left
            elif pace is not None:
                found += max(known.get(name, usual) - (time.monotonic() - pace.started), 0.0)
            elif name not in run.over:
                found += known.get(name, usual)
        return found

    def snapshot(self) -> dict[str, Any]:
        """All of it as plain data, for another process."""
        with self._lock:
            return {
                "title": self.title,
                "process": os.getpid(),
                "machine": platform.node(),
                "started": self.started,
                "updated": time.time(),
                "workers": self.workers,
                "left": self.left(),
                "closed": self.closed,
                "rows": [vars(row) for row in self.rows()],
                "messages": self.messages,
            }


_OPEN = ("waiting", "running")


class _Part(Reporter):
    """Tells a board of one of several runs."""

    def __init__(self, board: Board, label: str) -> None:
        self.board, self.label = board, label

    def expected(self, stages: Sequence[str]) -> None:
        self.board.expect(self.label, stages)

    def stage_started(self, name: str, total: int | None = None, unit: str = "steps", done: int = 0) -> None:
        self.board.begin(self.label, name, total, unit, done)

    def advanced(self, name: str, done: int, **values: float) -> None:
        self.board.advance(self.label, name, done, values)

    def stage_finished(self, name: str, seconds: float) -> None:
        self.board.finish(self.label, name, seconds)

    def cached(self, name: str) -> None:
        self.board.finish(self.label, name, None)

    def message(self, text: str) -> None:
        self.board.message(f"{self.label} {text}")

    def begun(self) -> None:
        self.board.give(self.label)

    def postponed(self) -> None:
        self.board.postpone(self.label)

    def ended(self, error: str | None = None) -> None:
        self.board.end(self.label, error)
