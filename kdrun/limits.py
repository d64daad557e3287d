"""How large what a file asks for may get, so that nothing is built before it has been counted.

Each limit may be set by an environment variable of its name, with ``KDRUN_`` before it: ``KDRUN_LOOP_ITEMS=50000``.
"""

from __future__ import annotations

import os

from kdrun.errors import InputError

__all__ = ["LIMITS", "Limits", "limit", "refuse_beyond"]

LIMITS = {
    "file_bytes": 1_000_000,  # bytes of a configuration file
    "depth": 64,  # levels of a configuration, values that name each other in a row
    "name_length": 200,  # characters of a name
    "text_length": 1_000_000,  # characters of a value, with all that it names
    "digits": 19,  # digits of a whole number
    "expressions": 20_000,  # characters of what functions compute
    "resolved_length": 10_000_000,  # characters of all values, once they are computed
    "copies": 200_000,  # entries that like copies
    "loop_items": 10_000,  # items of a loop, parts of a value
    "nodes": 100_000,  # nodes of a graph with its loops unrolled
    "arms": 500,  # arms, or scales
    "claims": 1_000,  # claims
    "seeds": 1_000,  # seeds of a reproduction
    "jobs": 10_000,  # jobs of a multirun
    "override_length": 20_000,  # characters of an override
    "parameters": 500_000_000_000,  # numbers in the weights of a model, and in a tensor
    "tensors": 50_000,  # tensors in the weights of a model
    "rows": 10_000_000_000,  # rows of a data set
    "row_values": 1_000_000_000,  # numbers in a row of a data set
}
"""The most there may be of each. ``docs/grammar.md`` has them, too."""


class Limits:
    """The limits as they are set, each looked up once: for what is counted many times."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def __getitem__(self, name: str) -> int:
        if name not in self._known:
            self._known[name] = limit(name)
        return self._known[name]

    def refuse_beyond(
        self, name: str, count: int, what: str, *, key: str | None = None, where: str | None = None
    ) -> None:
        """Raise ``InputError`` if ``count`` of ``what`` ("items of a loop") is beyond the limit."""
        most = self[name]
        if count > most:
            told = f"{count}" if count < 10**15 else "so many"
            raise InputError(
                f"{told} {what} are more than {most} (KDRUN_{name.upper()} sets the limit)", key=key, where=where
            )

    def refuse_long(self, number: int, *, key: str | None = None, where: str | None = None) -> None:
        """Raise ``InputError`` for a whole number of more digits than the limit allows."""
        if number.bit_length() > 60 and abs(number) >= 10 ** self["digits"]:
            self.refuse_beyond("digits", number.bit_length() * 3 // 10 + 1, "digits of a number", key=key, where=where)


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
    """The same for what is counted once."""
    Limits().refuse_beyond(name, count, what, key=key, where=where)
