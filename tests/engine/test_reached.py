"""The number by which runs are compared: the stated objective, or the first of the table ``valid``."""

from __future__ import annotations

import pytest

from kdrun.engine.reached import reached
from kdrun.errors import InputError
from kdrun.grammar.measurements import Measurements

TWO = Measurements.of_tables({"valid.cost": [{"flops": 9.0}], "valid": [{"nll": 2.0, "accuracy": 0.5}]})
ONE = Measurements.of_tables({"valid": [{"accuracy": 0.5}], "test": [{"accuracy": 0.4}]})


def test_a_stated_objective_is_looked_up_by_its_whole_label() -> None:
    found = reached({"objective": {"metric": "valid.cost.flops", "goal": "minimize"}}, TWO)
    assert found is not None
    assert (found.value, found.objective.goal, found.note) == (9.0, "minimize", "")
    with pytest.raises(InputError, match=r"nothing measures 'valid\.acuracy' \(did you mean 'valid\.accuracy'"):
        reached({"objective": "valid.acuracy"}, TWO)


def test_without_one_the_first_number_of_valid_is_taken_and_a_choice_is_told() -> None:
    found = reached({}, TWO)
    assert found is not None
    assert (found.objective.metric, found.value, found.objective.goal) == ("valid.nll", 2.0, None)
    assert "the first of 2 numbers in 'valid'" in found.note
    found = reached({"objective": None}, ONE)
    assert found is not None
    assert (found.value, found.note) == (0.5, "")
    assert reached({}, Measurements.of_tables({"test": [{"accuracy": 0.4}]})) is None
