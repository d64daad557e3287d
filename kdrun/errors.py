"""The exceptions a user may meet: one line of what, where and what was expected."""

from __future__ import annotations

import difflib
import errno
import json
import os
import re
from collections.abc import Iterable
from html import escape

__all__ = [
    "CorruptArtifact",
    "DataError",
    "Diverged",
    "InputError",
    "Interrupted",
    "KdrunError",
    "Occupied",
    "Pruned",
    "RunError",
    "StoreError",
    "concealed",
    "nearest",
    "printable",
    "refusal",
    "steers_a_terminal",
    "written_out",
]


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for the closest known spelling, or an empty string."""
    found = difflib.get_close_matches(str(name), [str(k) for k in known], n=1, cutoff=0.5)
    return f" (did you mean '{found[0]}'?)" if found else ""


_UNSEEN = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u061c\\u180e\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb"
    "\\ud800-\\udfff\\U000e0000-\\U000e007f]"
)


def steers_a_terminal(text: str) -> bool:
    """Whether characters are in it that show nothing but move the cursor, change colours or turn the direction of text."""
    return _UNSEEN.search(text) is not None


def written_out(text: object, *, line: bool = False) -> str:
    """The text with such characters written out, as ``\\x1b``; with ``line``, ends of lines and tabs, too."""
    shown = _UNSEEN.sub(lambda found: ascii(found.group())[1:-1], str(text))
    return shown.replace("\n", "\\n").replace("\t", "\\t") if line else shown


def printable(text: object, *, line: bool = False) -> str:
    """The text as people may see it: ``written_out``, and without secrets."""
    return written_out(concealed(str(text)), line=line)


_SECRET = re.compile(r"(TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|(API|ACCESS|PRIVATE|SECRET)_?KEY)S?(_ID)?$", re.I)
"""How variables of the environment are called whose values are shown to nobody."""

_LOGIN = re.compile(r"(?<=://)[^\s/@]+(?=@)")


def concealed(text: str) -> str:
    """The text with ``***`` in place of the environment's secrets and of logins in addresses, also where they stand in JSON or HTML.

    What fails in a library or a plug-in may repeat the address and the key that it was given.
    """
    text = _LOGIN.sub("***", text) if "://" in text else text
    for name, value in os.environ.items():
        if len(value) >= 8 and _SECRET.search(name):
            for form in {value, json.dumps(value)[1:-1], escape(value)}:
                text = text.replace(form, "***")
    return text


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


class Pruned(RunError):
    """A search ended the run, which was behind others at the same epoch."""


class Occupied(RunError):
    """Another process computes a stage that is needed. ``stage`` is its key in the store."""

    def __init__(self, message: str, stage: str) -> None:
        super().__init__(message)
        self.stage = stage

    def __reduce__(self) -> tuple[type[Occupied], tuple[str, str]]:
        return type(self), (self.message, self.stage)


class Interrupted(RunError):
    """The user pressed Ctrl-C; what was finished is kept."""

    exit_code = 130


def refusal(error: Exception) -> OSError | None:
    """The operating system's error, also where safetensors or pyarrow tell it in words of their own; None for another."""
    if isinstance(error, OSError):
        return error
    found = re.search(r"\(os error (\d+)\)", str(error))
    number = int(found[1]) if found else errno.ENOSPC if "No space left" in str(error) else None
    return None if number is None else OSError(number, os.strerror(number))
