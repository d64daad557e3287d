"""Parameters and inputs are checked by a part's signature."""

from __future__ import annotations

import pytest

from kdrun.errors import InputError
from kdrun.registry import catalog


def test_wrong_parameters_are_named_with_the_nearest_spelling() -> None:
    part = catalog().get("op", "kl_divergence")
    with pytest.raises(InputError, match="no parameter 'temprature' \\(did you mean 'temperature'\\?\\)"):
        part.validate({"temprature": 2.0}, key="k")
    with pytest.raises(InputError, match="'hot' does not fit temperature"):
        part.validate({"temperature": "hot"}, key="k")
    with pytest.raises(InputError, match="greater than 0"):
        part.validate({"temperature": 0}, key="k")


def test_inputs_bind_by_order_or_by_name() -> None:
    part = catalog().get("op", "relational_distance_loss")
    assert part.bind(["a", "b"], key="k") == part.bind({"teacher": "b", "student": "a"}, key="k")
    with pytest.raises(InputError, match="takes 2 inputs"):
        part.bind(["a", "b", "c"], key="k")
    with pytest.raises(InputError, match="lacks its input 'teacher'"):
        part.bind(["a"], key="k")
