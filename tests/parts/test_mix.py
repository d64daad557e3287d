"""Rows of several data sets joined."""

from __future__ import annotations

import pytest
import torch

from kdrun.data.dataset import MemoryDataset
from kdrun.errors import InputError
from kdrun.parts.mix import concatenate_rows
from support.data import dataset


def numbered(first: int, last: int) -> MemoryDataset:
    return dataset(9, image=torch.randn(last - first, 2), label=torch.arange(first, last))


def test_joined_rows_know_where_they_come_from() -> None:
    joined = concatenate_rows(numbered(0, 2), numbered(5, 8), source="source").rows()
    assert joined["label"].tolist() == [0, 1, 5, 6, 7]
    assert joined["source"].tolist() == [0, 0, 1, 1, 1]
    assert joined["index"].tolist() == [0, 1, 2, 3, 4]
    other = dataset(label=torch.zeros(1))
    with pytest.raises(InputError, match="do not join"):
        concatenate_rows(numbered(0, 2), other)
