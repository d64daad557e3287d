"""The order of a sweep's runs over several processes."""

from __future__ import annotations

import pytest

from kdrun.engine.waiting import Waiting

STAGES = {f"{arm} {seed}": [f"teacher {seed}", f"{arm} {seed}"] for seed in (0, 1) for arm in ("kd", "hint")}


def test_runs_that_need_the_same_teacher_do_not_begin_together() -> None:
    waiting = Waiting(list(STAGES), STAGES, lambda key: False)
    first = waiting.next([])
    assert (first, waiting.next([first])) == ("kd 0", "kd 1")


def test_runs_whose_teacher_is_there_begin_in_their_order() -> None:
    waiting = Waiting(list(STAGES), STAGES, lambda key: key == "teacher 0")
    first = waiting.next([])
    assert (first, waiting.next([first])) == ("kd 0", "hint 0")


def test_no_run_begins_that_would_hold_its_place_waiting_and_none_is_left() -> None:
    stored: set[str] = set()
    waiting = Waiting(list(STAGES), STAGES, stored.__contains__)
    assert [waiting.next([]), waiting.next(["kd 0"])] == ["kd 0", "kd 1"]
    assert waiting.next(["kd 0", "kd 1"]) is None, "a third process would wait for a teacher"
    stored.add("teacher 1")
    assert waiting.next(["kd 0", "kd 1"]) == "hint 1", "the first whose teacher is there, whatever came before it"
    assert waiting.next(["kd 0"]) is None
    assert waiting.next([]) == "hint 0", "nobody is at the teacher: the run that was has failed"
    with pytest.raises(IndexError):
        waiting.next([])


def test_a_run_that_shares_a_later_stage_begins_where_nothing_else_is_free() -> None:
    stages = {"a": ["own a", "shared"], "b": ["own b", "shared"], "c": ["own c"]}
    waiting = Waiting(list(stages), stages, lambda key: False)
    assert [waiting.next([]), waiting.next(["a"]), waiting.next(["a", "c"])] == ["a", "c", "b"]


def test_a_run_that_was_put_back_goes_on_when_the_stage_is_there() -> None:
    stages, stored = {"a": ["shared", "own a"], "b": ["own b", "shared"], "c": ["own c"]}, {"own b"}
    waiting = Waiting(list(stages), stages, stored.__contains__)
    assert waiting.next([]) == "a"
    waiting.put_back("a", "shared", ["b"])
    assert waiting.next(["b"]) == "c"
    assert waiting.next(["b"]) is None
    stored.add("shared")
    assert waiting.next(["b"]) == "a"
    assert not waiting.waits_for_others("a")


def test_a_run_waits_for_another_program_when_nothing_else_is_left() -> None:
    stages = {"a": ["theirs", "own a"], "b": ["own b"]}
    waiting = Waiting(list(stages), stages, lambda key: False)
    assert waiting.next([]) == "a"
    waiting.put_back("a", "theirs", [])
    assert waiting.next([]) == "b"
    assert waiting.next(["b"]) is None
    assert waiting.next([]) == "a"
    assert waiting.waits_for_others("a")
