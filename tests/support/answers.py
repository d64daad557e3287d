"""What ``kdrun check`` answers to the bytes of a file, and what is wrong with the answer; for properties and ``scripts/fuzz_check.py``."""

from __future__ import annotations

import contextlib
import io
import os
import re
import resource
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kdrun.commands import check_
from kdrun.config.files import read
from kdrun.config.library import Library
from kdrun.errors import KdrunError, printable

__all__ = ["Answer", "Answers", "refusal", "remember_defaults", "wrong_with"]

UNSEEN = re.compile(
    "[\x00-\x08\x0a-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ud800-\udfff\ufeff]"
)
"""What no line to a terminal may hold: what ends the line, steers, or is not seen."""


@dataclass(frozen=True)
class Answer:
    """``said``: the line of an error, empty for an experiment. ``fault``: what is wrong with the answer, and the ``place`` that it comes from."""

    said: str = ""
    fault: str | None = None
    place: str = ""
    trace: str = ""
    seconds: float = 0.0


class Answers:
    """Answers to files in ``folder``, within ``seconds`` of computing and a growth of so many KiB each."""

    def __init__(self, folder: Path, seconds: float, growth: int) -> None:
        self.folder, self.seconds, self.growth = folder, seconds, growth
        self.count = 0

    def of(self, content: bytes) -> Answer:
        """Write the bytes as a recipe and check it with all its arms."""
        self.count += 1
        path = self.folder / "stranger.yaml"
        path.write_bytes(content)
        os.utime(path, ns=(self.count, self.count))  # files are read again when their time changes
        grown, begun = _peak(), time.process_time()
        answer = _answer(path)
        took, grown = time.process_time() - begun, _peak() - grown
        if answer.fault is None and took > self.seconds:
            answer = Answer(answer.said, f"took {took:.0f} s", "slow")
        if answer.fault is None and grown > self.growth:
            answer = Answer(answer.said, f"grew by {grown >> 10} MiB", "large")
        return Answer(answer.said, answer.fault, answer.place, answer.trace, took)


def refusal(call: Callable[[], object]) -> str | None:
    """The line of the ``KdrunError`` that a call ends in, None if it ends well."""
    try:
        call()
    except KdrunError as error:
        return printable(error, line=True)
    return None


def remember_defaults() -> None:
    """Ask Hydra once for each defaults list: three quarters of the time of a check, most of it in code that is not searched."""
    known: dict[str, object] = {}
    listed = Library._listed

    def remembered(self: Library, choices: object, added: object) -> object:
        defaults = read(self.recipe.path).content.get("defaults")
        label = repr((defaults, choices, added))
        if label not in known:
            known[label] = listed(self, choices, added)  # type: ignore[arg-type]
        return known[label]

    Library._listed = remembered  # type: ignore[method-assign, assignment]


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _answer(path: Path) -> Answer:
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            check_.main([str(path)])
    except KdrunError as error:
        line = printable(error, line=True)
        bad = wrong_with(line) or (None if error.exit_code == 2 else f"exit code {error.exit_code}")
        return Answer(line, bad and f"{bad}: {line!r}", _place(error) if bad else "")
    except Exception as error:
        return Answer("", f"{type(error).__name__}: {error}", _place(error), traceback.format_exc())
    said = [line for line in [*out.getvalue().splitlines(), err.getvalue()] if wrong_with(line) not in (None, "empty")]
    return Answer("", f"printed {said[0]!r}", "printed") if said else Answer()


def wrong_with(line: str) -> str | None:
    """What is wrong with the one line of an error; None if nothing is."""
    if not line.strip():
        return "empty"
    if UNSEEN.search(line):
        return "characters that are not seen"
    return "too long" if len(line) > 5000 else None


def _place(error: BaseException) -> str:
    """The kind of an error, and the last line of kdrun and the last of all that it came through."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f"{Path(f.filename).name}:{f.name}" for f in frames if "/kdrun/" in f.filename]
    last = f"{Path(frames[-1].filename).name}:{frames[-1].name}" if frames else ""
    return " ".join([type(error).__name__, *own[-1:], last])
