"""Tables in CSV files that say, a row a line, several answers: labels that hold or not, or numbers to predict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from kdrun.data import text_reading
from kdrun.data.fingerprints import share_of
from kdrun.errors import DataError, nearest

__all__ = ["KINDS", "AnswerTable", "read_table", "splits_of", "standardization"]

KINDS = {"labels": "label", "values": "target"}
"""What answers are, and the column of a data set that they become."""


@dataclass(frozen=True)
class AnswerTable:
    """The lines of a table: answers [rows, columns] (float32) under ``columns``, and all cells as text, by line number from 2 on."""

    path: Path
    columns: tuple[str, ...]
    cells: list[dict[str, str]]
    answers: Tensor

    def where(self, row: int) -> str:
        return f"{self.path}:{row + 2}"


def read_table(path: Path, columns: Sequence[str] | None, beside: Sequence[str], *, labels: bool) -> AnswerTable:
    """Read a CSV file with a header; ``columns`` are the answers (default: all but those ``beside``).

    Raises ``DataError`` for a table that is missing or empty, a column that it has not, and, with its line, a cell that is no
    number, or of ``labels`` neither 0 nor 1.
    """
    header, cells = text_reading.read_table(path)
    chosen = list(columns) if columns is not None else [name for name in header if name not in beside]
    for name in chosen:
        if name not in header:
            raise DataError(f"{path} has no column '{name}'{nearest(name, header)}; it has: {', '.join(header)}")
    if not cells or not chosen:
        raise DataError(f"{path} has no {'rows' if chosen else 'columns of answers'}")
    rows = [_numbers(line, chosen, f"{path}:{number}", labels) for number, line in enumerate(cells, 2)]
    return AnswerTable(path, tuple(chosen), cells, torch.tensor(rows, dtype=torch.float32))


def _numbers(line: Mapping[str, str], columns: Sequence[str], where: str, labels: bool) -> list[float]:
    found = []
    for name in columns:
        text = (line.get(name) or "").strip()
        try:
            value = float(text)
        except ValueError:
            raise DataError(f"{where}: {name} is a number, got {text!r}") from None
        if labels and value not in (0, 1):
            raise DataError(f"{where}: the label {name} holds (1) or not (0), got {text}; numbers are kind: values")
        if not math.isfinite(value):
            raise DataError(f"{where}: {name} is a finite number, got {text}")
        found.append(value)
    return found


def splits_of(
    table: AnswerTable, names: Sequence[str], split: str, shares: Mapping[str, float]
) -> dict[str, list[int]]:
    """The rows of ``train``, ``valid`` and ``test``: as the column ``split`` says, else ``shares`` by a hash of their ``names``.

    A split without rows is not there. Raises ``DataError`` for another word, or if none are left to train on.
    """
    found: dict[str, list[int]] = {"train": [], "valid": [], "test": []}
    for row, (line, name) in enumerate(zip(table.cells, names, strict=True)):
        place = line[split].strip() if split in line else _place(share_of(name), shares)
        if place not in found:
            raise DataError(
                f"{table.where(row)}: {split} is one of {', '.join(found)}, got {place!r}{nearest(place, found)}"
            )
        found[place].append(row)
    if not found["train"]:
        raise DataError(f"{table.path} has no rows to train on")
    return {place: rows for place, rows in found.items() if rows}


def _place(share: float, shares: Mapping[str, float]) -> str:
    return "test" if share < shares["test"] else "valid" if share < shares["test"] + shares["valid"] else "train"


def standardization(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each column of [rows, columns]; a deviation of 0 counts as 1."""
    mean, deviation = values.double().mean(0), values.double().std(0, correction=0)
    return mean.float(), torch.where(deviation > 0, deviation, 1.0).float()
