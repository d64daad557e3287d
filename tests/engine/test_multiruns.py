"""Jobs of a multirun that processes take by themselves: each by one at a time, and again where its process has died."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kdrun.engine.multiruns import Multirun

FIRST, SECOND = ["seed=0"], ["seed=1"]


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Multirun]:
    found = Multirun.begin(tmp_path, "kd", ["seed=0,1"])
    for job in (FIRST, SECOND):
        found.expect(job, job[0])
    yield found
    for job in (FIRST, SECOND):
        found.let_go(job)


def test_a_job_is_with_one_process_until_it_is_given_back(record) -> None:
    other = pickle.loads(pickle.dumps(record))
    assert record.take(FIRST) == FIRST
    assert other.take(FIRST) == SECOND, "its own is with another"
    assert other.take(FIRST) is None
    record.give_back(FIRST)
    assert other.take(FIRST) == FIRST
    for job in (FIRST, SECOND):
        other.let_go(job)


def test_a_job_that_has_ended_is_not_taken_again(record) -> None:
    record.take(FIRST)
    record.tell(FIRST, "seed=0", "failed", error="the loss became NaN")
    record.let_go(FIRST)
    other = pickle.loads(pickle.dumps(record))
    assert other.take(FIRST) == SECOND
    other.let_go(SECOND)


TAKE = "import sys; from kdrun.engine.multiruns import Multirun; from pathlib import Path; print(Multirun(Path(sys.argv[1])).take(['seed=0']))"


def test_what_a_process_held_that_has_died_is_taken_by_the_next(record) -> None:
    dead = subprocess.run([sys.executable, "-c", TAKE, str(record.folder)], capture_output=True, text=True, check=True)
    assert dead.stdout.strip() == str(FIRST)
    record.tell(FIRST, "seed=0", "running")
    assert record.take(FIRST) == FIRST


def test_jobs_that_are_besides_are_left(record) -> None:
    assert record.take(FIRST, besides={tuple(FIRST)}) == SECOND
    assert record.take(FIRST, besides={tuple(FIRST), tuple(SECOND)}) is None
