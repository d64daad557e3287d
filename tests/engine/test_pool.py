"""What comes back from the worker processes of a sweep."""

from __future__ import annotations

import json
import pickle
import re

import pytest

from kdrun.engine.pool import _sendable
from kdrun.errors import Diverged, Occupied
from support.recipes import QUICK, TINY_STUDENT, write_recipe


class OfAPlugin(Diverged):
    """A class that the main process may not be able to import."""

    def __init__(self, step: int) -> None:
        super().__init__(f"the loss became NaN at step {step}", key="fit_student", where="mine.yaml:3")


def test_an_error_comes_back_as_the_nearest_class_of_kdrun_with_its_place() -> None:
    found = pickle.loads(pickle.dumps(_sendable(OfAPlugin(7))))
    assert type(found) is Diverged
    assert str(found) == "mine.yaml:3: fit_student: the loss became NaN at step 7"
    assert (found.key, found.where, found.exit_code) == ("fit_student", "mine.yaml:3", 1)


def test_an_occupied_stage_is_named_to_who_keeps_the_order() -> None:
    found = pickle.loads(pickle.dumps(Occupied("fit_teacher: another process computes it", "abc")))
    assert (found.stage, str(found), found.exit_code) == ("abc", "fit_teacher: another process computes it", 1)


def test_a_run_that_does_not_wait_leaves_a_stage_to_who_is_at_it(session) -> None:
    waiting, other = session("kd", *QUICK), session("kd", *QUICK)
    waiting.executor.waits = False
    key = waiting.keys["fit_teacher"]
    other.store.prepare()
    with other.store.lock(key), pytest.raises(Occupied) as refused:
        waiting.run()
    assert refused.value.stage == key
    assert waiting.run().counts["computed"] > 0


LATE = """
graph:
  own: {stage: train, from: {model: student, data: data.train, optimizer: optimizer}, step: supervised, epochs: 1, batch_size: 64}
  shared: {stage: train, from: {model: student, data: data.train, optimizer: optimizer}, step: supervised, epochs: 120}
  test: {stage: evaluate, from: [own, data.test], metrics: [accuracy]}
  again: {stage: evaluate, from: [shared, data.test], metrics: [accuracy]}
data: {limit: 256}
seeds: 1
arms:
  first: {}
  second: {own.batch_size: 32}
  third: {own.batch_size: 16, skip: [shared, again]}
  fourth: {own.batch_size: 8, skip: [shared, again]}
"""


@pytest.mark.slow
def test_a_run_that_comes_to_a_stage_that_another_is_at_gives_its_place_to_those_that_wait_for_none(
    kdrun, tmp_path
) -> None:
    recipe = write_recipe(tmp_path, LATE, TINY_STUDENT, name="late")
    answer = kdrun("reproduce", recipe, "--jobs", "2")
    assert answer.code == 0, answer.err
    assert "waiting" not in answer.err
    assert answer.err.count("shared: done in") == 1
    ended = re.findall(r"^\[(\w+) seed 0\] finished", answer.err, re.MULTILINE)
    assert set(ended[:2]) == {"third", "fourth"}, "they are over before the stage that the others need"
    records = [json.loads(path.read_text()) for path in tmp_path.glob("runs/late/*/*/result.json")]
    assert [record["state"] for record in records] == ["finished"] * 4
