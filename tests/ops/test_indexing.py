"""Rows, positions and pairs taken by number."""

from __future__ import annotations

import pytest
import torch

from kdrun import ops
from kdrun.ops.indexing import at_position, gather_pairs
from kdrun.ops.shapes import merge_rows, unmerge_rows


def test_labels_as_rows_and_back() -> None:
    labels = torch.tensor([[2, 0], [1, 1]])
    rows = ops.one_hot(labels, classes=3)
    assert rows.dtype == torch.float32
    assert rows[0].tolist() == [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    assert torch.equal(ops.hard_label(rows), labels)
    assert ops.gather(torch.tensor([[1.0], [2.0], [3.0]]), labels).shape == (2, 2, 1)


def test_positions_and_rows_of_rows() -> None:
    values = torch.arange(24).view(2, 3, 4)
    assert torch.equal(at_position(values, torch.tensor([2, 0])), torch.stack([values[0, 2], values[1, 0]]))
    assert torch.equal(unmerge_rows(merge_rows(values), values), values)
    with pytest.raises(ValueError, match="same number of rows"):
        at_position(values, torch.tensor([0]))


def test_pairs_of_unknown_rows_weigh_nothing() -> None:
    table = torch.tensor([[1.0, 0.5], [0.25, 1.0]])
    pairs = gather_pairs(table, torch.tensor([1, -1, 0]))
    assert pairs.tolist() == [[1, 0, 0.25], [0, 0, 0], [0.5, 0, 1]]
