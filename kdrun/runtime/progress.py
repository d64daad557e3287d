"""Telling the person at the keyboard what happens: live bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

__all__ = ["PlainReporter", "QuietReporter", "Reporter", "RichReporter", "make_reporter"]


class Reporter:
    """Receives what the engine does; every method may be ignored by a subclass."""

    tracker: Any = None

    def stage_started(self, name: str, total: int | None = None, unit: str = "steps") -> None:
        """A stage begins; ``total`` steps are expected."""

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


class QuietReporter(Reporter):
    """Says nothing."""


class PlainReporter(Reporter):
    """One line an event, for logs and pipes."""

    def __init__(self, prefix: str = "", every: float = 10.0) -> None:
        self.prefix = prefix
        self.every = every
        self._started: dict[str, float] = {}
        self._last: dict[str, float] = {}
        self._total: dict[str, int | None] = {}

    def _say(self, text: str) -> None:
        print(f"{self.prefix}{text}", file=sys.stderr, flush=True)

    def stage_started(self, name: str, total: int | None = None, unit: str = "steps") -> None:
        self._started[name] = self._last[name] = time.monotonic()
        self._total[name] = total

    def advanced(self, name: str, done: int, **values: float) -> None:
        now = time.monotonic()
        if now - self._last.get(name, now) < self.every:
            return
        self._last[name] = now
        rate = done / max(now - self._started[name], 1e-9)
        total = self._total.get(name)
        left = f", {(total - done) / rate:.0f} s left" if total and rate else ""
        figures = "".join(f", {k} {v:.4f}" for k, v in values.items())
        self._say(f"{name}: {done}{f'/{total}' if total else ''} at {rate:.0f}/s{left}{figures}")

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
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}", style="dim"),
            console=self.console,
            transient=True,
        )
        self.bar.start()
        self._tasks: dict[str, Any] = {}
        self._started: dict[str, float] = {}

    def stage_started(self, name: str, total: int | None = None, unit: str = "steps") -> None:
        self._started[name] = time.monotonic()
        self._tasks[name] = self.bar.add_task(self.prefix + name, total=total, rate="", figures="")

    def advanced(self, name: str, done: int, **values: float) -> None:
        if name in self._tasks:
            rate = done / max(time.monotonic() - self._started[name], 1e-9)
            figures = " ".join(f"{k} {v:.3f}" for k, v in list(values.items())[:3])
            self.bar.update(self._tasks[name], completed=done, rate=f"{rate:.0f}/s", figures=figures)

    def stage_finished(self, name: str, seconds: float) -> None:
        task = self._tasks.pop(name, None)
        if task is not None:
            self.bar.remove_task(task)
        self.bar.console.print(f"[green]✓[/green] {self.prefix}{name} [dim]{seconds:.1f} s[/dim]", highlight=False)

    def message(self, text: str) -> None:
        self.bar.console.print(f"[yellow]•[/yellow] {self.prefix}{text}", highlight=False)

    def close(self) -> None:
        self.bar.stop()


def make_reporter(prefix: str = "", *, quiet: bool = False) -> Reporter:
    """Bars on a terminal, plain lines elsewhere."""
    if quiet:
        return QuietReporter()
    return RichReporter(prefix) if sys.stderr.isatty() else PlainReporter(prefix)
