"""``--retry-failed``: what failed, was cut off or had not begun is run again, and what succeeded comes from the store."""

from __future__ import annotations

import json

import pytest

from kdrun.engine.executor import Executor
from kdrun.engine.multiruns import Multirun
from kdrun.errors import RunError
from support.recipes import NO_TRANSFER, QUICK, write_recipe

SWEEP = ("run", "kd", "-m", "arm=scratch", "seed=0,1,2", *QUICK)


@pytest.fixture
def failing(monkeypatch):
    """Let stages fail at these seeds until it is called again; it returns what was computed since."""
    compute, computed = Executor._compute, []
    seeds: dict[int, BaseException] = {}

    def disturbed(self, node, key):
        if (error := seeds.get(self.keys.seed)) is not None and node.name == "fit_student":
            raise error
        computed.append((self.keys.seed, node.name))
        return compute(self, node, key)

    monkeypatch.setattr(Executor, "_compute", disturbed)

    def at(**errors: BaseException) -> list[tuple[int, str]]:
        seeds.clear()
        seeds.update({int(name.removeprefix("seed")): error for name, error in errors.items()})
        found = list(computed)
        computed.clear()
        return found

    return at


def folder_of(tmp_path):
    (found,) = tmp_path.glob("runs/*/*-multirun")
    return found


def test_failed_jobs_are_listed_with_why_and_run_again_alone(kdrun, tmp_path, failing) -> None:
    failing(seed1=RunError("the disk of\nthis node is full"))
    answer = kdrun(*SWEEP)
    assert answer.code == 1
    assert answer.err.splitlines()[-3:] == [
        "kdrun: 1 of 3 jobs failed:",
        "  seed=1: the disk of\\nthis node is full",
        "again, these alone: kdrun run kd -m --retry-failed",
    ]
    states = [(job.words, job.state, job.error) for job in Multirun(folder_of(tmp_path)).states()]
    assert states == [
        ("seed=0", "finished", None),
        ("seed=1", "failed", "the disk of\\nthis node is full"),
        ("seed=2", "finished", None),
    ]
    records = {path.parent.name for path in tmp_path.glob("runs/*/*/result.json")}
    failing()
    again = kdrun("run", "kd", "-m", "--retry-failed")
    assert again.code == 0, again.err
    assert again.err.startswith("kdrun: 1 of 3 jobs to run again\n  seed=1: failed: the disk of\\nthis node is full\n")
    assert {seed for seed, _ in failing()} == {1}
    assert again.out.splitlines()[-1].split()[:2] == ["all", "3"], "the table has all jobs"
    assert {path.parent.name for path in tmp_path.glob("runs/*/*/result.json")} == records, "no record is made twice"
    assert [job.state for job in Multirun(folder_of(tmp_path)).states()] == ["finished"] * 3
    whole = kdrun(*SWEEP)
    assert whole.out.split("\n\n")[-1] == again.out.split("\n\n")[-1]


def test_an_interrupted_multirun_goes_on_with_what_had_not_begun(kdrun, tmp_path, failing) -> None:
    failing(seed1=KeyboardInterrupt())
    assert kdrun(*SWEEP).code == 130
    assert [job.state for job in Multirun(folder_of(tmp_path)).states()] == ["finished", "interrupted", "waiting"]
    failing()
    words = [word for word in SWEEP if word != "-m"]
    again = kdrun(*words, "--retry-failed", "--multirun")
    assert again.code == 0, again.err
    assert "2 of 3 jobs to run again\n  seed=1: interrupted\n  seed=2: waiting\n" in again.err
    assert {seed for seed, _ in failing()} == {1, 2}
    assert "0 of 3 jobs to run again" in kdrun("run", "kd", "-m", "--retry-failed").err
    assert failing() == []


def test_what_a_record_may_not_say_is_asked_for_again(kdrun, tmp_path, failing) -> None:
    failing(seed1=RunError("no"))
    kdrun(*SWEEP, f"store={tmp_path / 'other'}")
    answer = kdrun("run", "kd", "-m", "--retry-failed")
    assert answer.code == 2
    assert f"say again what only you may say (store={tmp_path / 'other'}): kdrun run kd -m arm=scratch" in answer.err
    path = folder_of(tmp_path) / "multirun.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "given": ["seed=0,1", "plugins=[evil.py]"]}))
    assert "(plugins=[evil.py])" in kdrun("run", "kd", "-m", "--retry-failed").err


def test_without_a_multirun_there_is_nothing_to_retry(kdrun, tmp_path) -> None:
    for words, told in (
        (("kd", "--retry-failed"), "goes with -m"),
        (("kd", "-m", "sweeper=optuna", "--retry-failed"), "a search goes on by the same words"),
        (("kd", "-m", "--retry-failed"), "no multirun of kd is recorded"),
        (("kd", "-m", "seed=0,1", "--retry-failed"), "no multirun of kd with seed=0,1 is recorded"),
    ):
        answer = kdrun("run", *words)
        assert (answer.code, told in answer.err) == (2, True), answer.err
    assert kdrun("run", "kd", "-m", "seed=0,1", "epoch=1").code == 2
    assert not list(tmp_path.glob("runs/*/*-multirun")), "one that runs nothing leaves nothing"


def test_a_reproduction_runs_again_what_failed_and_takes_the_rest_from_the_store(kdrun, tmp_path, failing) -> None:
    body = "data: {limit: 128}\nepochs: 1\nseeds: 3\narms: {tame: {}}\n"
    recipe = write_recipe(tmp_path, body, NO_TRANSFER, name="study")
    words = ("reproduce", recipe, "--jobs", "1")
    assert (
        "3 runs were never begun ([tame seed 0], [tame seed 1], [tame seed 2])" in kdrun(*words, "--retry-failed").err
    )
    failing(seed0=RunError("full"), seed1=KeyboardInterrupt())
    assert kdrun(*words).code == 130
    failing()
    answer = kdrun(*words, "--retry-failed")
    assert answer.code == 0, answer.err
    told = "3 of 3 runs to do again\n  [tame seed 0] failed: full\n  [tame seed 1] interrupted\n  [tame seed 2] had not begun\n"
    assert told in answer.err
    assert "tame  3 " in answer.out
    failing()
    assert "0 of 3 runs to do again" in kdrun(*words, "--retry-failed").err
    assert failing() == []
    assert "1 runs were never begun ([tame seed 3])" in kdrun(*words, "--retry-failed", "seeds=4").err
