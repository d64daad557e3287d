"""Parts of the ``reduce`` stage that read tables."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kdrun.errors import InputError, nearest
from kdrun.registry import reduce

__all__ = ["column_of", "table_column"]


def column_of(tables: list[Any], name: str) -> Tensor:
    """A column of one table's rows, or of several tables' joined rows: [rows] (float64).

    Raises ``InputError`` for a column that a row has not.
    """
    rows = [row for table in tables for row in (table if isinstance(table, list) else [table])]
    missing = next((row for row in rows if name not in row), None)
    if missing is not None:
        raise InputError(f"the tables have no column '{name}'{nearest(name, missing)}; there are: {', '.join(missing)}")
    return torch.tensor([float(row[name]) for row in rows], dtype=torch.float64)


@reduce
def table_column(tables: list[list[dict[str, Any]]], *, column: str) -> Tensor:
    """One column of the rows of several tables, one after the other: [rows] (float32).

    Raises ``InputError`` for a column that a table has not.
    """
    return column_of(tables, column).float()
