"""Parts of the ``reduce`` stage that read tables."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kdrun.errors import InputError, nearest
from kdrun.registry import reduce

__all__ = ["table_column"]


@reduce
def table_column(tables: list[list[dict[str, Any]]], *, column: str) -> Tensor:
    """One column of the rows of several tables, one after the other: [rows] (float32).

    Raises ``InputError`` for a column that a table has not.
    """
    rows = [row for table in tables for row in table]
    for row in rows:
        if column not in row:
            raise InputError(f"the tables have no column '{column}'{nearest(column, row)}")
    return torch.tensor([float(row[column]) for row in rows])
