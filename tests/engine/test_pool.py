"""What comes back from the worker processes of a sweep."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
import time

import pytest

from kdrun.config.compose import Composer
from kdrun.engine.jobs import sendable
from kdrun.engine.multiruns import Multirun
from kdrun.engine.session import Session
from kdrun.errors import Diverged, Occupied
from support.recipes import QUICK, TINY_STUDENT, write_recipe


class OfAPlugin(Diverged):
    """A class that the main process may not be able to import."""

    def __init__(self, step: int) -> None:
        super().__init__(f"the loss became NaN at step {step}", key="fit_student", where="mine.yaml:3")


def test_an_error_comes_back_as_the_nearest_class_of_kdrun_with_its_place() -> None:
    found = pickle.loads(pickle.dumps(sendable(OfAPlugin(7))))
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
  shared: {stage: train, from: {model: student, data: data.train, optimizer: optimizer}, step: supervised, epochs: 1000}
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


@pytest.mark.slow
def test_jobs_of_joblib_give_way_to_those_that_wait_for_none(tmp_path, monkeypatch) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="pip install 'kdrun[cluster]'")
    monkeypatch.chdir(tmp_path)
    recipe, store = write_recipe(tmp_path, LATE, TINY_STUDENT, name="late"), f"store={tmp_path / 'store'}"
    here = Session(Composer.named(recipe, [store]).compose(arm="first"))
    here.store.prepare()
    words = ["run", recipe, "-m", "arm=first,second,third,fourth", "launcher=joblib", "hydra.launcher.n_jobs=2", store]
    with here.store.lock(here.keys["shared"]):
        running = subprocess.Popen(
            [sys.executable, "-m", "kdrun", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        while states(tmp_path) != ["waiting", "waiting", "finished", "finished"]:
            assert running.poll() is None, running.communicate()
            time.sleep(0.05)
    out, err = running.communicate()
    assert running.returncode == 0, err
    assert "waiting" not in err
    assert err.count("shared: done in") == 1
    rows = [line.split()[:2] for line in out.split("\nswept ")[1].splitlines()[2:]]
    assert rows == [[f"arm={arm}", "1"] for arm in ("first", "second", "third", "fourth")], "in the order of the words"
    assert states(tmp_path) == ["finished"] * 4


def states(tmp_path) -> list[str]:
    return [job.state for path in tmp_path.glob("runs/late/*-multirun") for job in Multirun(path).states()]
