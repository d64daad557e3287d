"""The order of a sweep's runs over several processes."""

from __future__ import annotations

import pytest

from kdrun.engine.waiting import Waiting

STAGES = {f"{arm} {seed}": {f"teacher {seed}", f"{arm} {seed}"} for seed in (0, 1) for arm in ("kd", "hint")}


def test_runs_that_need_the_same_teacher_do_not_begin_together() -> None:
    waiting = Waiting(list(STAGES), STAGES, lambda key: False)
    first = waiting.next([])
    assert (first, waiting.next([first])) == ("kd 0", "kd 1")


def test_runs_whose_teacher_is_there_begin_in_their_order() -> None:
    waiting = Waiting(list(STAGES), STAGES, lambda key: key == "teacher 0")
    first = waiting.next([])
    assert (first, waiting.next([first])) == ("kd 0", "hint 0")


def test_no_process_idles_and_no_run_is_left() -> None:
    waiting, order = Waiting(list(STAGES), STAGES, lambda key: False), []
    while waiting:
        order.append(waiting.next(order[-2:]))
    assert sorted(order) == sorted(STAGES)
    with pytest.raises(IndexError):
        waiting.next([])
