"""What is under way, in a file beside the records, so that another terminal may look on. Nobody asks the run, and it waits for nobody."""

from __future__ import annotations

import contextlib
import json
import math
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdrun.errors import concealed
from kdrun.runtime.board import Board, Row

__all__ = ["JOURNAL", "Journal", "read_journal"]

JOURNAL = "progress.json"
"""The file's name."""

SECONDS = 0.5
"""As often it is written at most, but for what begins and ends."""

LARGEST = 4 * 2**20
"""Bytes of a journal that is read."""


class Journal(Board):
    """A board that is written to a folder as it changes. That the disk refuses it hurts no run."""

    def __init__(self, folder: Path, title: str = "") -> None:
        super().__init__(title)
        self.path = folder / JOURNAL
        self._written = 0.0

    def expect(self, label: str, stages: Any) -> None:
        super().expect(label, stages)
        self._write()

    def give(self, label: str) -> None:
        super().give(label)
        self._write()

    def begin(self, label: str, name: str, total: int | None, unit: str, done: int) -> None:
        super().begin(label, name, total, unit, done)
        self._write()

    def advance(self, label: str, name: str, done: int, values: dict[str, float]) -> None:
        super().advance(label, name, done, values)
        if time.monotonic() - self._written >= SECONDS:
            self._write()

    def finish(self, label: str, name: str, seconds: float | None) -> None:
        super().finish(label, name, seconds)
        self._write()

    def postpone(self, label: str) -> None:
        super().postpone(label)
        self._write()

    def end(self, label: str, error: str | None) -> None:
        super().end(label, error)
        self._write()

    def close(self) -> None:
        super().close()
        self._write()

    def _write(self) -> None:
        """Under a name of its own first, so that a reader never sees half of it."""
        self._written = time.monotonic()
        temporary = self.path.with_name(f"{self.path.name}.{uuid.uuid4().hex}.part")
        with contextlib.suppress(OSError):
            temporary.write_text(concealed(json.dumps(self.snapshot())), encoding="utf-8")
            temporary.replace(self.path)


def read_journal(folder: Path) -> tuple[dict[str, Any], list[Row]] | None:
    """What a journal tells, and its rows; None where there is none that a run could have written."""
    path = folder / JOURNAL
    try:
        if not path.is_file() or path.stat().st_size > LARGEST:
            return None
        told = json.loads(path.read_text(encoding="utf-8"))
        rows = [Row(**row) for row in told["rows"]]
        sound = all(map(_is_sound, rows)) and all(_is_number(told[name]) for name in ("started", "updated", "process"))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    messages = told.get("messages")
    told["messages"] = [str(m) for m in messages] if isinstance(messages, list) else []
    told["left"] = told.get("left") if _is_number(told.get("left")) else None
    return (told, rows) if sound else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_sound(row: Row) -> bool:
    texts = (row.label, row.state, row.stage, row.rate)
    numbers = [row.done, row.stages_done, row.stages, *(n for n in (row.total, row.left) if n is not None)]
    figures = isinstance(row.figures, Mapping) and all(isinstance(v, int | float) for v in row.figures.values())
    known = row.state in ("waiting", "running", "finished", "failed") and isinstance(row.error, str | None)
    return known and figures and all(isinstance(t, str) for t in texts) and all(map(_is_number, numbers))
