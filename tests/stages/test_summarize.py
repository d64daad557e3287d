"""``summarize``: statistics of tables."""

from __future__ import annotations

import math

import pytest

from kdrun.errors import InputError
from kdrun.stages.summarize import summarize
from support.contexts import stage_context


def test_summaries_of_tables() -> None:
    tables = [[{"gain": 1.0}], [{"gain": -1.0}], [{"gain": math.nan}], [{"gain": 3.0}]]
    found = summarize(tables, columns={"gain": ["mean", "share_positive", "min"]}, context=stage_context())[""].rows[0]
    assert found == {"gain.mean": 1.0, "gain.share_positive": 2 / 3, "gain.min": -1.0}
    assert summarize(tables, columns={"gain": ["max"]}, rows=[0, 1], context=stage_context())[""].rows[0] == {
        "gain.max": 1.0
    }
    with pytest.raises(InputError, match="no column 'gian' \\(did you mean 'gain'"):
        summarize(tables, columns={"gian": ["mean"]}, context=stage_context())
    with pytest.raises(InputError, match="no statistic 'maen'"):
        summarize(tables, columns={"gain": ["maen"]}, context=stage_context())
