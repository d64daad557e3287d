"""How large what a file asks for may get, so that nothing is built before it has been counted.

Each limit may be set by an environment variable of its name, with ``KDRUN_`` before it: ``KDRUN_LOOP_ITEMS=50000``.
"""

from __future__ import annotations

import os

from kdrun.errors import InputError

__all__ = ["LIMITS", "limit", "refuse_beyond"]

LIMITS = {
    "file_bytes": 1_000_000,
    "depth": 64,
    "name_length": 200,
    "text_length": 1_000_000,
    "loop_items": 10_000,
    "nodes": 100_000,
    "seeds": 1_000,
}
"""Bytes of a configuration file, levels of a configuration, characters of a name and of a value with all that it names, items
of a loop, nodes of a graph with its loops unrolled, and seeds."""


def limit(name: str) -> int:
    """A limit as it is set. Raises ``InputError`` for a setting that is no number."""
    variable = f"KDRUN_{name.upper()}"
    given = os.environ.get(variable)
    if given is None:
        return LIMITS[name]
    if not given.isdecimal() or len(given) > 18:
        raise InputError(f"{variable} is a whole number, got {given[:40]!r}")
    return int(given)


def refuse_beyond(name: str, count: int, what: str, *, key: str | None = None, where: str | None = None) -> None:
    """Raise ``InputError`` if ``count`` of ``what`` ("items of a loop") is beyond the limit."""
    most = limit(name)
    if count > most:
        told = f"{count}" if count < 10**15 else "so many"
        raise InputError(
            f"{told} {what} are more than {most} (KDRUN_{name.upper()} sets the limit)", key=key, where=where
        )
