"""Rows in memory."""

from __future__ import annotations

import pytest

from kdrun.data.dataset import few_left_over


@pytest.mark.parametrize(
    ("rows", "batch_size", "left"),
    [(1922, 128, 2), (1550, 128, 0), (132, 128, 4), (1860, 64, 0), (9, 4, 0), (5, 128, 0)],
)
def test_few_rows_left_over_for_the_last_batch(rows, batch_size, left) -> None:
    assert few_left_over(rows, batch_size) == left
