"""Columns of tables and what goes with them."""

from __future__ import annotations

import pytest
import torch

from kdrun.errors import InputError
from kdrun.parts.tables import pivot_scores, table_column, transfer_correlates
from support.data import dataset


def test_columns_of_tables_are_joined_in_order() -> None:
    assert table_column([[{"a": 1.0}], [{"a": 3.0}, {"a": 2.0}]], column="a").tolist() == [1, 3, 2]
    with pytest.raises(InputError, match="no column 'b'"):
        table_column([[{"a": 1.0}]], column="b")


def test_transfer_tables() -> None:
    sizes, centres = [10, 20, 30], [0.0, 1.0, 4.0]
    data = [
        dataset(bag=torch.full((n, 2, 3), c + 1), event=torch.ones(n, dtype=torch.int64))
        for n, c in zip(sizes, centres, strict=True)
    ]
    near = [[-abs(a - b) for b in centres] for a in centres]  # the nearer, the better
    tables = [[{"model": i, "c": v} for i, v in enumerate(row)] for row in near]
    assert pivot_scores(tables, column="c") == [{str(i): v for i, v in enumerate(row)} for row in near]
    (found,) = transfer_correlates(tables, data, column="c")
    assert found["distance"] == pytest.approx(-1.0)
    assert "event_rate" not in found  # the same everywhere
    assert "self_score" not in found
    by_size = [[{"c": float(n)} for n in sizes]] * 3
    assert transfer_correlates(by_size, data, column="c")[0]["size"] == pytest.approx(1.0)
    with pytest.raises(InputError, match="does not fit 2 data sets"):
        transfer_correlates(tables, data[:2], column="c")
