"""Data sets that show some of their columns alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from kdrun.data.dataset import Dataset, FileDataset, MemoryDataset

__all__ = ["showing"]


def showing(value: Any, columns: Collection[str]) -> Any:
    """The same rows with these ``columns`` and their numbers (``index``) alone; of a list or a mapping of data, each so.

    Streams of generated rows stay as they are: nobody is judged on them.
    """
    if isinstance(value, Mapping):
        return {name: showing(one, columns) for name, one in value.items()}
    if isinstance(value, list):
        return [showing(one, columns) for one in value]
    kept = frozenset([*columns, "index"])
    if isinstance(value, MemoryDataset):
        found: Dataset = MemoryDataset({n: c for n, c in value.columns.items() if n in kept}, value.info)
    elif isinstance(value, FileDataset):
        extra = {n: c for n, c in value.extra.items() if n in kept}
        found = FileDataset(_Shown(value.decode, kept), 0, value.info, positions=value.positions, extra=extra)
    else:
        return value
    found.info = replace(found.info, columns={n: c for n, c in value.info.columns.items() if n in kept})
    found.inherit(value)
    found.changed = value.changed & kept
    return found


class _Shown:
    """Decodes a row and keeps some of its columns; picklable for worker processes."""

    def __init__(self, decode: Callable[[int], dict[str, Tensor]], kept: frozenset[str]) -> None:
        self.decode, self.kept = decode, kept

    def __call__(self, row: int) -> dict[str, Tensor]:
        return {name: value for name, value in self.decode(row).items() if name in self.kept}
