"""What a configuration says that a run is to be good at."""

from __future__ import annotations

import pytest

from kdrun.errors import InputError
from kdrun.grammar.objective import Objective, parse_objective


def test_an_objective_is_a_metric_to_maximize_unless_it_says_minimize() -> None:
    assert parse_objective("valid.accuracy") == Objective("valid.accuracy", "maximize")
    assert parse_objective({"metric": "valid.nll", "goal": "minimize"}) == Objective("valid.nll", "minimize")
    assert parse_objective(None) is None


@pytest.mark.parametrize(
    ("content", "key", "message"),
    [
        (["valid.accuracy"], "objective", "reads METRIC or"),
        ({"goal": "minimize"}, "objective", "reads METRIC or"),
        ({"metric": "valid.nll", "goal": "minimise"}, "objective.goal", "did you mean 'minimize'"),
        ({"metric": "valid.nll", "gaol": "minimize"}, "objective.gaol", "no 'gaol'"),
    ],
)
def test_what_is_no_objective_is_refused(content, key, message) -> None:
    with pytest.raises(InputError, match=message) as caught:
        parse_objective(content)
    assert caught.value.key == key
