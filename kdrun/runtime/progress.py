"""Telling the person at the keyboard what happens: live bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

__all__ = ["PlainReporter", "QuietReporter", "Reporter", "RichReporter", "duration", "make_reporter"]


class Reporter:
    """Receives what the engine does; every method may be ignored by a subclass."""

    tracker: Any = None

    def preparing(self, text: str) -> None:
        """What is done before the first stage, which may take seconds: for who looks at a screen, not for logs."""

    def stage_started(self, name: str, total: int | None = None, unit: str = "steps", done: int = 0) -> None:
        """A stage begins; ``total`` steps are expected, of which ``done`` were taken before."""

    def advanced(self, name: str, done: int, **values: float) -> None:
        """``done`` steps of a stage are over; ``values`` are its latest figures."""

    def stage_finished(self, name: str, seconds: float) -> None:
        """A stage's result is in the store."""

    def cached(self, name: str) -> None:
        """A stage's result was found in the store."""

    def message(self, text: str) -> None:
        """Something worth a line: a wait, a resumed checkpoint, a corrupt artifact."""

    def log(self, stage: str, step: int, values: dict[str, float]) -> None:
        """Figures of a stage, for the trackers."""
        if self.tracker is not None:
            self.tracker.log(values, step, stage)

    def close(self) -> None:
        """The run is over."""


class _Pace:
    """How fast a stage goes, counted from where it began now, which after an interruption is not its first step."""

    def __init__(self, done: int, total: int | None, unit: str) -> None:
        self.begun, self.total, self.unit = done, total, unit
        self.started = time.monotonic()

    def rate(self, done: int) -> float:
        """Steps a second."""
        return max(done - self.begun, 0) / max(time.monotonic() - self.started, 1e-9)

    def told(self, done: int) -> str:
        """The rate in words: steps a second, or seconds a step where these are more than one."""
        rate = self.rate(done)
        if rate == 0:
            return ""
        return (
            f"{rate:.{0 if rate >= 10 else 1}f}/s"
            if rate >= 1
            else f"{duration(1 / rate)}/{self.unit.removesuffix('s')}"
        )

    def left(self, done: int) -> float | None:
        """Seconds to the end, if it is known."""
        rate = self.rate(done)
        return (self.total - done) / rate if self.total and rate else None


def duration(seconds: float) -> str:
    """Seconds in words: ``1.4 s``, ``25 s``, ``3 min``, ``2 h 5 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


class QuietReporter(Reporter):
    """Says nothing."""


class PlainReporter(Reporter):
    """One line an event, for logs and pipes."""

    def __init__(self, prefix: str = "", every: float = 10.0) -> None:
        self.prefix = prefix
        self.every = every
        self._paces: dict[str, _Pace] = {}
        self._last: dict[str, float] = {}

    def _say(self, text: str) -> None:
        print(f"{self.prefix}{text}", file=sys.stderr, flush=True)

    def stage_started(self, name: str, total: int | None = None, unit: str = "steps", done: int = 0) -> None:
        self._paces[name] = _Pace(done, total, unit)
        self._last[name] = time.monotonic()

    def advanced(self, name: str, done: int, **values: float) -> None:
        now = time.monotonic()
        if now - self._last.get(name, now) < self.every:
            return
        self._last[name] = now
        pace = self._paces[name]
        left = pace.left(done)
        told = [f"{done}{f'/{pace.total}' if pace.total else ''}", pace.told(done)]
        told += [f"{duration(left)} left"] if left is not None else []
        self._say(f"{name}: {', '.join([*filter(None, told), *(f'{k} {v:.4f}' for k, v in values.items())])}")

    def stage_finished(self, name: str, seconds: float) -> None:
        self._say(f"{name}: done in {seconds:.1f} s")

    def message(self, text: str) -> None:
        self._say(text)


class RichReporter(Reporter):
    """A live bar with rate and time left for the running stage, and a line for each finished one."""

    def __init__(self, prefix: str = "") -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeRemainingColumn,
        )

        self.prefix = prefix
        self.console = Console(stderr=True)
        self.bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}", markup=False),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}", style="dim", markup=False),
            console=self.console,
            transient=True,
        )
        self.bar.start()
        self._tasks: dict[str, Any] = {}
        self._paces: dict[str, _Pace] = {}

    def preparing(self, text: str) -> None:
        self._tasks[""] = self.bar.add_task(self.prefix + text, total=None, rate="", figures="")

    def _prepared(self) -> None:
        if "" in self._tasks:
            self.bar.remove_task(self._tasks.pop(""))

    def stage_started(self, name: str, total: int | None = None, unit: str = "steps", done: int = 0) -> None:
        self._prepared()
        self._paces[name] = _Pace(done, total, unit)
        self._tasks[name] = self.bar.add_task(self.prefix + name, total=total, completed=done, rate="", figures="")

    def advanced(self, name: str, done: int, **values: float) -> None:
        if name in self._tasks:
            figures = " ".join(f"{k} {v:.3f}" for k, v in list(values.items())[:3])
            self.bar.update(self._tasks[name], completed=done, rate=self._paces[name].told(done), figures=figures)

    def stage_finished(self, name: str, seconds: float) -> None:
        task = self._tasks.pop(name, None)
        if task is not None:
            self.bar.remove_task(task)
        from rich.markup import escape

        self.bar.console.print(
            f"[green]✓[/green] {escape(self.prefix + name)} [dim]{seconds:.1f} s[/dim]", highlight=False
        )

    def message(self, text: str) -> None:
        self._prepared()
        from rich.markup import escape

        self.bar.console.print(f"[yellow]•[/yellow] {escape(self.prefix + text)}", highlight=False)

    def close(self) -> None:
        self.bar.stop()


def make_reporter(prefix: str = "", *, quiet: bool = False) -> Reporter:
    """Bars on a terminal, plain lines elsewhere."""
    if quiet:
        return QuietReporter()
    return RichReporter(prefix) if sys.stderr.isatty() else PlainReporter(prefix)
