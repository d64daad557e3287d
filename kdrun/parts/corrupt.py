"""Parts of the ``corrupt`` stage: data set to data set, with something spoilt on purpose."""

from __future__ import annotations

import torch

from kdrun.data.dataset import Dataset
from kdrun.errors import InputError, nearest
from kdrun.registry import corrupt

__all__ = ["permuted_columns"]


@corrupt
def permuted_columns(data: Dataset, *, columns: list[str], generator: torch.Generator) -> Dataset:
    """The named columns dealt out to the rows anew, together, by one random permutation: what they say of the others is lost.

    Raises ``InputError`` for an unknown column.
    """
    missing = [name for name in columns if name not in data.info.columns]
    if missing:
        raise InputError(f"the data has no column '{missing[0]}'{nearest(missing[0], data.info.columns)}")
    found = [[batch[name] for name in columns] for batch in data.batches(64)]  # others may not fit into memory
    order = torch.randperm(len(data), generator=generator)
    return data.with_columns(
        {n: torch.cat(parts)[order] for n, parts in zip(columns, zip(*found, strict=True), strict=True)}
    )
