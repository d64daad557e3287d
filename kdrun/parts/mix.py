"""Parts of the ``mix`` stage: one data set out of several."""

from __future__ import annotations

import torch

from kdrun.data.dataset import Dataset, MemoryDataset
from kdrun.errors import InputError
from kdrun.registry import mix

__all__ = ["concatenate_rows"]


@mix
def concatenate_rows(*data: Dataset, source: str | None = None) -> Dataset:
    """The rows of several data sets with the same columns, one after the other; decoded into memory.

    ``source`` names a column that is added: the number of the data set from which each row comes (int64).
    Raises ``InputError`` if columns or their shapes differ.
    """
    first = data[0].info
    for other in data[1:]:
        if dict(other.info.columns) != dict(first.columns):
            raise InputError(
                f"data sets with columns {sorted(first.columns)} and {sorted(other.info.columns)} do not join"
            )
    rows = [d.rows() for d in data]
    columns = {name: torch.cat([r[name] for r in rows]) for name in first.columns}
    joined = MemoryDataset(columns, first)
    joined.transforms = data[0].transforms
    if source is None:
        return joined
    numbers = torch.cat([torch.full((len(r["index"]),), i) for i, r in enumerate(rows)])
    return joined.with_columns({source: numbers})
