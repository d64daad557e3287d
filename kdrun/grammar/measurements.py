"""What a run measures: one record a number, from the tables that it made, and the labels by which people write them.

A label is ``table.column`` (``test.accuracy``), with the row's number between them where the table has several
(``zoo.2.accuracy``). Names of tables and columns may hold dots themselves (``stream[2].test``, ``gain.mean``), so a
label is never cut: it is looked up among those of what was measured, or of what will be.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kdrun.errors import InputError, nearest

__all__ = ["ANY", "Measurement", "Measurements", "in_table", "label", "look_up"]

ANY = "*"
"""Ends the label of columns that only running will tell: any text may stand in its place."""


@dataclass(frozen=True)
class Measurement:
    """A number in a table. ``row`` is None where the table has one row."""

    table: str
    row: int | None
    name: str
    value: float

    @property
    def label(self) -> str:
        """``test.accuracy``, or ``zoo.2.accuracy`` for the third row of several."""
        return label(self.table, self.row, self.name)


@dataclass(frozen=True, eq=False)
class Measurements(Mapping[str, float]):
    """The numbers of a run, as a mapping from label to value in the order of the tables; ``records`` are the numbers apart."""

    records: tuple[Measurement, ...] = ()

    @classmethod
    def of_tables(cls, tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> Measurements:
        """Every number of every row; text and None are no measurements."""
        return cls(
            tuple(
                Measurement(table, i if len(rows) > 1 else None, str(name), value)
                for table, rows in tables.items()
                for i, row in enumerate(rows)
                for name, value in row.items()
                if isinstance(value, int | float)
            )
        )

    @functools.cached_property
    def _by_label(self) -> dict[str, float]:
        return {record.label: record.value for record in self.records}

    def __getitem__(self, name: str) -> float:
        return self._by_label[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_label)

    def __len__(self) -> int:
        return len(self._by_label)


def label(table: str, row: int | None, name: str) -> str:
    """How people write the number in a table's row and column; see the module."""
    return f"{table}.{name}" if row is None else f"{table}.{row}.{name}"


def in_table(label: str, table: str) -> bool:
    """Whether a label is that of a number of ``table``."""
    return label.startswith(f"{table}.")


def look_up(name: str, labels: Iterable[str], *, what: str, key: str | None = None) -> None:
    """Raise ``InputError`` unless ``name`` is one of ``labels`` or what one that ends in ``*`` stands for.

    ``what`` begins the message: ``no arm measures``.
    """
    known = list(labels)
    if any(_fits(name, one) for one in known):
        return
    column = name.rpartition(".")[2]
    near = nearest(name, [one.replace(ANY, column) for one in known])
    shown = known if len(known) <= MOST_SHOWN else [*known[:MOST_SHOWN], "…"]
    raise InputError(f"{what} '{name}'{near}; there are: {', '.join(shown) or 'no tables'}", key=key)


MOST_SHOWN = 24
"""Labels that a message lists at most."""


def _fits(name: str, known: str) -> bool:
    if not known.endswith(ANY):
        return name == known
    return name.startswith(known[:-1]) and name != known[:-1]
