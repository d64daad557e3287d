"""What is added to a recipe: several options of one group stand beside one another."""

from __future__ import annotations

import pytest

from kdrun.config.compose import Composer
from kdrun.errors import InputError


@pytest.mark.parametrize("words", [["+add=[confusion,embedding]"], ["+add=confusion", "+add=embedding"]])
def test_several_additions_are_all_made(words) -> None:
    config = Composer.named("kd", words).compose().config
    assert {"confusion", "embedding"} <= set(config["graph"])
    assert "add" not in config


def test_one_that_is_unknown_is_refused_by_its_name() -> None:
    with pytest.raises(InputError, match="add has no option 'nothing_such'"):
        Composer.named("kd", ["+add=[confusion,nothing_such]"]).compose()
