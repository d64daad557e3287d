"""The exceptions a user may meet: one line of what, where and what was expected."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

__all__ = [
    "CorruptArtifact",
    "DataError",
    "Diverged",
    "InputError",
    "Interrupted",
    "KdrunError",
    "RunError",
    "StoreError",
    "nearest",
    "printable",
    "steers_a_terminal",
]


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for the closest known spelling, or an empty string."""
    found = difflib.get_close_matches(str(name), [str(k) for k in known], n=1, cutoff=0.5)
    return f" (did you mean '{found[0]}'?)" if found else ""


_UNSEEN = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069]")


def steers_a_terminal(text: str) -> bool:
    """Whether characters are in it that show nothing but move the cursor, change colours or turn the direction of text."""
    return _UNSEEN.search(text) is not None


def printable(text: object) -> str:
    """The text with such characters written out, as ``\\x1b``."""
    return _UNSEEN.sub(lambda found: ascii(found.group())[1:-1], str(text))


class KdrunError(Exception):
    """Base of every error kdrun raises on purpose. ``exit_code`` is what the shell sees."""

    exit_code = 1

    def __init__(self, message: str, *, key: str | None = None, where: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.key = key
        self.where = where

    def __str__(self) -> str:
        place = ": ".join(part for part in (self.where, self.key) if part)
        return f"{place}: {self.message}" if place else self.message

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows: the one line, without the frames of the engine."""
        return [f"{type(self).__name__}: {self}"]


class InputError(KdrunError):
    """Something the user wrote is wrong. ``key`` is the dotted config key it stands at."""

    exit_code = 2


class DataError(InputError):
    """A data set is missing, empty or broken."""


class StoreError(InputError):
    """The store cannot be read or written (full disk, permissions)."""


class CorruptArtifact(KdrunError):
    """An artifact's bytes do not match its checksum; it is recomputed."""


class RunError(KdrunError):
    """A run failed for a reason that is not in the input."""


class Diverged(RunError):
    """A loss became NaN or infinite."""


class Interrupted(RunError):
    """The user pressed Ctrl-C; what was finished is kept."""

    exit_code = 130
