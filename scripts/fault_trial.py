"""One trial: where it works, what it starts, and how that may end."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fault_sweep import Ended, Process, Sweep, copied

__all__ = ["Misbehaved", "Trial", "wait_for"]


class Misbehaved(Exception):
    """Something ended as nothing of kdrun's may end; the text says how."""


@dataclass
class Trial:
    """One fault: ``folder`` to work in, ``bases`` to begin from, ``seconds`` that the undisturbed sweep takes."""

    sweep: Sweep
    bases: Path
    folder: Path
    chance: random.Random
    seconds: float
    number: int
    ended: list[Ended] = field(default_factory=list)
    must_say: str | None = None
    """What the rerun's log, or the reason beside what was set aside, has to hold."""

    @property
    def place(self) -> Path:
        """Where the store and the runs are."""
        return self.folder / "place"

    def begin(self, *bases: str) -> str:
        """Copy one of the states to begin from; empty text stands for nothing at all."""
        base = self.chance.choice(bases)
        self.place.mkdir(exist_ok=True)
        if base:
            copied(self.bases / base, self.place)
        return f"from {base}" if base else "from nothing"

    def start(self, before: Callable[[], None] = lambda: None) -> Process:
        log = self.folder / f"disturbed{len(list(self.folder.glob('*.log')))}.log"
        log.touch()
        return self.sweep.start(self.place, log, before)

    def close(self, process: Process, *codes: int) -> Ended:
        """Wait for a process; it has to end in an orderly way, with one of the codes."""
        ended = process.wait()
        self.ended.append(ended)
        if not ended.orderly or (codes and ended.code not in codes):
            raise Misbehaved(f"a disturbed process ended with {ended.code}: {ended.said[-1500:]}")
        return ended


def wait_for(true: Callable[[], bool], otherwise: str, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not true():
        if time.monotonic() > until:
            raise Misbehaved(otherwise)
        time.sleep(0.05)
