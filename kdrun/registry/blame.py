"""Whose code an error comes from: where in a plug-in, if it came through one."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from pathlib import Path

from kdrun.registry.loading import is_of_plugin

__all__ = ["in_plugin", "place_in_plugin"]


def place_in_plugin(error: BaseException) -> str | None:
    """``FILE:LINE`` of the innermost line of a plug-in that an error, or what caused it, came through; None if there is none."""
    found = None
    for one in _chain(error):
        for frame, line in traceback.walk_tb(one.__traceback__):
            if is_of_plugin(str(frame.f_globals.get("__name__"))):
                found = f"{_short(frame.f_code.co_filename)}:{line}"
    return found


def in_plugin(error: BaseException) -> tuple[str, str] | None:
    """What is to be said of an error of a plug-in, and the place; None for another one."""
    place = place_in_plugin(error)
    if place is None:
        return None
    told = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"the plug-in fails with {type(error).__name__}{f': {told}' if told else ''}", place


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and what it was raised from, outermost first."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)


def _short(file: str) -> str:
    """The file from the working folder, if it lies in it."""
    path = Path(file)
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
