"""Small data sets in memory, and whether a data set is what it promised."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kdrun.data.dataset import Column, DataInfo, MemoryDataset
from support.tensors import generator

__all__ = ["assert_as_promised", "corners", "dataset", "labelled"]


def dataset(classes: int | None = None, **columns: Tensor) -> MemoryDataset:
    """Rows with these columns, one entry of the first axis a row."""
    described = {name: Column(tuple(column.shape[1:]), column.dtype) for name, column in columns.items()}
    return MemoryDataset(columns, DataInfo(described, classes))


def labelled(count: int, classes: int = 4) -> MemoryDataset:
    """Rows with nothing but a label: 0, 1, … in turn."""
    return dataset(classes, label=torch.arange(count) % classes)


def corners(count: int = 300, classes: int = 3, seed: int = 0) -> MemoryDataset:
    """Rows of several sources: source i holds class i alone, around a corner of its own."""
    label = torch.arange(count) % classes
    image = 4 * torch.eye(classes)[label] + torch.randn(count, classes, generator=generator(seed))
    return dataset(classes, image=image, label=label, source=label)


def assert_as_promised(part: Any) -> Any:
    """Load the data of a part and compare every split with what ``info`` promised; what was loaded."""
    found = part.load()
    _compare(part.info(), found)
    return found


def _compare(promised: Any, found: Any) -> None:
    if isinstance(promised, DataInfo):
        rows = found.rows()
        assert promised.size in (None, len(found))
        for name, column in promised.columns.items():
            assert (rows[name].shape[1:], rows[name].dtype) == (column.shape, column.dtype)
    elif isinstance(promised, dict):
        assert set(promised) == set(found)
        for name, value in promised.items():
            _compare(value, found[name])
    else:
        for one, other in zip(promised, found, strict=True):
            _compare(one, other)
