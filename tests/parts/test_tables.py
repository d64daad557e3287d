"""Columns of tables."""

from __future__ import annotations

import pytest

from kdrun.errors import InputError
from kdrun.parts.tables import table_column


def test_columns_of_tables_are_joined_in_order() -> None:
    assert table_column([[{"a": 1.0}], [{"a": 3.0}, {"a": 2.0}]], column="a").tolist() == [1, 3, 2]
    with pytest.raises(InputError, match="no column 'b'"):
        table_column([[{"a": 1.0}]], column="b")
