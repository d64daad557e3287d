"""Telling the person at the keyboard what happens: live bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from kdrun.errors import printable
from kdrun.runtime import spinner
from kdrun.runtime.console import write

__all__ = ["Fan", "Labelled", "Pace", "PlainReporter", "QuietReporter", "Reporter", "duration"]


class Reporter:
    """Receives what the engine does; every method may be ignored by a subclass."""

    tracker: Any = None

    def preparing(self, text: str) -> None:
        """What is done before the first stage, which may take seconds: for who looks at a screen, not for logs."""

    def stage_started(self, name: str, total: int | None = None, unit: str = "steps", done: int = 0) -> None:
        """A stage begins; ``total`` steps are expected, of which ``done`` were taken before."""

    def advanced(self, name: str, done: int, **values: float) -> None:
        """``done`` steps of a stage are over; ``values`` are its latest figures."""

    def validated(self, name: str, epoch: int, scores: Mapping[str, float]) -> None:
        """The scores of a stage on the rows set aside for it, after so many epochs. Whoever hears may end it by raising ``Pruned``."""

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

    def sweep(self, labels: Sequence[str], workers: int) -> None:
        """Several runs are to be done, so many at a time; ``of`` gives who listens to each."""

    def of(self, label: str) -> Reporter:
        """Who hears of one run among several."""
        return Labelled(self, label)

    def expected(self, stages: Sequence[str]) -> None:
        """The stages that a run will compute, in their order."""

    def begun(self) -> None:
        """A run of a sweep has been given to a process."""

    def postponed(self) -> None:
        """A run of a sweep gives its place to others until a stage is there that another one computes."""

    def ended(self, error: str | None = None) -> None:
        """A run of a sweep is over; ``error`` says in a line why it failed."""

    def close(self) -> None:
        """All is over."""


class Labelled(Reporter):
    """Puts a run's label before each stage's name."""

    def __init__(self, inner: Reporter, label: str) -> None:
        self.inner, self.label = inner, label

    def stage_started(self, name: str, total: int | None = None, unit: str = "steps", done: int = 0) -> None:
        self.inner.stage_started(f"{self.label} {name}", total, unit, done)

    def advanced(self, name: str, done: int, **values: float) -> None:
        self.inner.advanced(f"{self.label} {name}", done, **values)

    def stage_finished(self, name: str, seconds: float) -> None:
        self.inner.stage_finished(f"{self.label} {name}", seconds)

    def message(self, text: str) -> None:
        self.inner.message(f"{self.label} {text}")


class Fan(Reporter):
    """Passes what happens on to several."""

    def __init__(self, *inner: Reporter) -> None:
        self.inner = inner

    def preparing(self, text: str) -> None:
        for one in self.inner:
            one.preparing(text)

    def stage_started(self, name: str, total: int | None = None, unit: str = "steps", done: int = 0) -> None:
        for one in self.inner:
            one.stage_started(name, total, unit, done)

    def advanced(self, name: str, done: int, **values: float) -> None:
        for one in self.inner:
            one.advanced(name, done, **values)

    def validated(self, name: str, epoch: int, scores: Mapping[str, float]) -> None:
        for one in self.inner:
            one.validated(name, epoch, scores)

    def stage_finished(self, name: str, seconds: float) -> None:
        for one in self.inner:
            one.stage_finished(name, seconds)

    def cached(self, name: str) -> None:
        for one in self.inner:
            one.cached(name)

    def message(self, text: str) -> None:
        for one in self.inner:
            one.message(text)

    def sweep(self, labels: Sequence[str], workers: int) -> None:
        for one in self.inner:
            one.sweep(labels, workers)

    def of(self, label: str) -> Reporter:
        return Fan(*(one.of(label) for one in self.inner))

    def expected(self, stages: Sequence[str]) -> None:
        for one in self.inner:
            one.expected(stages)

    def begun(self) -> None:
        for one in self.inner:
            one.begun()

    def postponed(self) -> None:
        for one in self.inner:
            one.postponed()

    def ended(self, error: str | None = None) -> None:
        for one in self.inner:
            one.ended(error)

    def close(self) -> None:
        for one in self.inner:
            one.close()


class Pace:
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
        self._paces: dict[str, Pace] = {}
        self._last: dict[str, float] = {}

    def _say(self, text: str) -> None:
        spinner.end()
        write(printable(f"{self.prefix}{text}", line=True), sys.stderr, flush=True)

    def stage_started(self, name: str, total: int | None = None, unit: str = "steps", done: int = 0) -> None:
        self._paces[name] = Pace(done, total, unit)
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
