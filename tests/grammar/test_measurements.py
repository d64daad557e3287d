"""Numbers of a run under their labels."""

from __future__ import annotations

import pytest

from kdrun.errors import InputError
from kdrun.grammar.measurements import Measurement, Measurements, look_up


def test_a_number_is_labelled_by_its_table_and_column_and_by_its_row_where_there_are_several() -> None:
    found = Measurements.of_tables(
        {"test": [{"accuracy": 0.5, "said": "text", "gain.mean": 1}], "zoo[2].all": [{"f1": 0.1}, {"f1": 0.2}]}
    )
    assert dict(found) == {"test.accuracy": 0.5, "test.gain.mean": 1, "zoo[2].all.0.f1": 0.1, "zoo[2].all.1.f1": 0.2}
    assert found.records[-1] == Measurement("zoo[2].all", 1, "f1", 0.2)


def test_a_label_is_one_of_those_known_or_stands_behind_an_open_one() -> None:
    known = ["test.accuracy", "test.same_kind.*", "fit.*"]
    for name in ("test.accuracy", "test.same_kind.mrr", "fit.log.3.loss"):
        look_up(name, known, what="nothing measures")
    for name in ("test", "test.", "test.same_kind.", "fit.", "test.accuracy.0", "fitted.x"):
        with pytest.raises(InputError, match=f"nothing measures '{name}'"):
            look_up(name, known, what="nothing measures")
    with pytest.raises(InputError, match=r"did you mean 'test\.same_kind\.mrr'"):
        look_up("test.same_kid.mrr", known, what="nothing measures")
