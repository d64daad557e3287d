"""``check``: every arm is told with its number of stages, from any folder."""

from __future__ import annotations

import pytest

from kdrun.config.compose import Composer


@pytest.mark.parametrize("recipe", ["distillation/kd", "unlearning/leaderboard"])
def test_every_arm_is_told(kdrun, recipe) -> None:
    """A recipe with claims, and one with a leaderboard."""
    answer = kdrun("check", recipe)
    assert answer.code == 0, answer.err
    told = [line.partition(": ")[0] for line in answer.out.splitlines()]
    assert told == [f"{recipe} [{arm}]" for arm in Composer.named(recipe).base().config["arms"]]
    assert all(line.endswith("stages, all well") for line in answer.out.splitlines())
