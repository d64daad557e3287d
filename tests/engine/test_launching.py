"""Runs that a launcher of Hydra's starts: in the order in which nobody waits, once each, and again where one has died."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kdrun.api.study import Study
from kdrun.config.compose import Composer
from kdrun.config.experiment import Selection
from kdrun.config.paths import find_recipe
from kdrun.engine.jobs import Job
from kdrun.engine.launching import Cluster, Launched, mark_of
from kdrun.errors import Diverged, InputError, KdrunError, RunError
from support.recipes import QUICK, TINY_STUDENT, write_recipe
from support.runs import Listener
from support.stored import stored

SHARED = """
graph:
  own: {stage: train, from: {model: student, data: data.train, optimizer: optimizer}, step: supervised, epochs: 1, batch_size: 64}
  shared: {stage: train, from: {model: student, data: data.train, optimizer: optimizer}, step: supervised, epochs: 2}
  test: {stage: evaluate, from: [own, data.test], metrics: [accuracy]}
  again: {stage: evaluate, from: [shared, data.test], metrics: [accuracy]}
data: {limit: 128}
seeds: 1
arms:
  first: {}
  second: {own.batch_size: 32}
  third: {own.batch_size: 16, skip: [shared, again]}
"""


@pytest.fixture
def study(tmp_path, monkeypatch) -> Study:
    """Three runs, of which two share a stage."""
    monkeypatch.chdir(tmp_path)
    selection = Selection.of([f"store={tmp_path / 'store'}"])
    found = Study.of(
        Composer.named(write_recipe(tmp_path, SHARED, TINY_STUDENT, name="shared"), selection.overrides), selection
    )
    for one in found.sessions.values():
        one.prepare()
    return found


def launched(study: Study) -> Launched:
    targets = {j.label: [s.keys[n] for n in s.graph.targets] for j in study.jobs for s in [study.sessions[j.label]]}
    return pickle.loads(pickle.dumps(Launched(study.jobs, targets)))


def test_each_launched_job_runs_one_run_and_what_waits_gives_its_place(study) -> None:
    task, first = launched(study), study.sessions[study.jobs[0].label]
    with first.store.lock(first.keys["shared"]):
        assert task(0).label == study.jobs[2].label
    assert {task(2).label, task(1).label} == {study.jobs[0].label, study.jobs[1].label}
    assert task(0) is None, "nothing is left"


def test_a_run_that_another_machine_is_at_is_left_to_it(study) -> None:
    task, store = launched(study), next(iter(study.sessions.values())).store
    label = study.jobs[0].label
    with store.lock(mark_of(task.targets[label], label)):
        assert task(0).label == study.jobs[1].label


def test_a_failure_comes_back_with_its_class_and_its_place(study, monkeypatch) -> None:
    task = launched(study)

    def diverge(*_: object, **__: object) -> None:
        raise Diverged("the loss became NaN at step 7", key="own", where="mine.yaml:3")

    monkeypatch.setattr(Job, "run", diverge)
    error = pickle.loads(pickle.dumps(task(0))).error
    assert (type(error), str(error)) == (Diverged, "mine.yaml:3: own: the loss became NaN at step 7")
    monkeypatch.setattr(Job, "run", lambda *_, **__: 1 / 0)
    assert str(task(1).error) == "ZeroDivisionError: division by zero"


def test_a_job_has_the_folder_and_the_settings_of_where_it_was_asked_for(study, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("KDRUN_MAX_STAGES", "77")
    task = launched(study)
    monkeypatch.delenv("KDRUN_MAX_STAGES")
    seen = {}
    monkeypatch.setattr(
        Job, "run", lambda *_, **__: seen.update(folder=os.getcwd(), most=os.environ["KDRUN_MAX_STAGES"])
    )
    monkeypatch.chdir("/")
    task(0)
    assert seen == {"folder": str(tmp_path), "most": "77"}
    assert (os.getcwd(), os.environ.get("KDRUN_MAX_STAGES")) == ("/", None)


def test_what_a_dead_machine_had_begun_is_launched_again(study, monkeypatch) -> None:
    calls = []

    def dying(recipe, words, task, count):
        calls.append(count)
        if len(calls) == 1:
            task(0)
            raise ConnectionError("node lost")
        return [task(number) for number in range(count)]

    monkeypatch.setattr("kdrun.config.launchers.launch", dying)
    reporter, failures = Listener(), {}
    cluster = Cluster(find_recipe("kd"), ("launcher=some",))
    cluster.run(study.jobs, study.sessions, reporter, lambda job, error: failures.update({job.label: error}))
    assert (calls, failures) == ([3, 2], {})
    assert all(session.executor.finished() for session in study.sessions.values())
    assert "the launcher gave up: ConnectionError: node lost" in reporter.said


def test_what_never_ends_is_told_with_its_cause(study, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("sbatch: no such partition")

    monkeypatch.setattr("kdrun.config.launchers.launch", refuse)
    failures: dict[str, KdrunError] = {}
    cluster = Cluster(find_recipe("kd"), ("launcher=some",))
    cluster.run(study.jobs, study.sessions, Listener(), lambda job, error: failures.update({job.label: error}))
    assert set(failures) == {job.label for job in study.jobs}
    assert {str(e) for e in failures.values()} == {
        "launched 3 times and not run to its end (OSError: sbatch: no such partition)"
    }
    assert all(isinstance(error, RunError) for error in failures.values())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["launcher=nope"], "launcher has no option 'nope'"),
        (["launcher=joblib", "hydra.launcher.nope=3"], "hydra.launcher.nope"),
    ],
)
def test_a_launcher_that_there_is_not_is_refused_before_anything_runs(words, told) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="pip install 'kdrun[cluster]'")
    with pytest.raises(InputError, match=told):
        Cluster.of(find_recipe("kd"), words)
    assert Cluster.of(find_recipe("kd"), ["launcher=basic", "epochs=2"]) is None


ASKED = ("reproduce", "kd", "seeds=2", "--arms", "kd,scratch", *QUICK)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plugin", "words"),
    [
        ("hydra_joblib_launcher", ["launcher=joblib", "hydra.launcher.n_jobs=2"]),
        ("hydra_submitit_launcher", ["launcher=submitit", "hydra.launcher.timeout_min=10"]),
    ],
)
def test_a_reproduction_by_a_launcher_ends_with_the_same_bytes_and_records(kdrun, tmp_path, plugin, words) -> None:
    pytest.importorskip(f"hydra_plugins.{plugin}", reason="pip install 'kdrun[cluster]'")
    here, there = tmp_path / "here", tmp_path / "there"
    alone = kdrun(*ASKED, f"store={here}", f"runs={here / 'runs'}", "--jobs", "1")
    answer = kdrun(*ASKED, f"store={there}", f"runs={there / 'runs'}", *words)
    assert answer.code == 0, answer.err
    assert answer.out.partition("\nreport:")[0] == alone.out.partition("\nreport:")[0]
    assert "[kd seed 1] finished" in answer.err
    assert stored(there) == stored(here)
    names = {p.relative_to(here / "runs").as_posix() for p in (here / "runs").rglob("result.json")}
    assert names == {p.relative_to(there / "runs").as_posix() for p in (there / "runs").rglob("result.json")}


@pytest.mark.slow
def test_a_ray_cluster_that_loses_a_worker_and_a_node_ends_with_the_same_bytes(kdrun, tmp_path) -> None:
    pytest.importorskip("hydra_plugins.hydra_ray_launcher", reason="pip install 'kdrun[ray]'")
    from ray.cluster_utils import Cluster as Nodes

    longer = (
        "reproduce",
        "kd",
        "seeds=2",
        "--arms",
        "kd,scratch",
        "data.limit=256",
        "epochs=20",
        "checkpoint_seconds=600",
    )
    assert kdrun(*longer, f"store={tmp_path / 'here'}", "--jobs", "1").code == 0
    nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    second, store = nodes.add_node(num_cpus=1), tmp_path / "there"
    words = [*longer, f"store={store}", "launcher=ray", f"hydra.launcher.ray.init.address='{nodes.address}'"]
    running = subprocess.Popen(
        [sys.executable, "-m", "kdrun", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        until(lambda: results(store) >= 1, running)
        os.kill(workers()[0], signal.SIGKILL)
        before = results(store)
        until(lambda: results(store) > before, running)
        nodes.remove_node(second, allow_graceful=False)
        out, err = running.communicate(timeout=600)
    finally:
        running.kill()
        nodes.shutdown()
    assert running.returncode == 0, err
    assert "scratch" in out
    assert stored(store) == stored(tmp_path / "here")


def until(seen, running: subprocess.Popen[str]) -> None:
    while not seen():
        assert running.poll() is None, running.communicate()
        time.sleep(0.05)


def results(store: Path) -> int:
    return len(list(store.glob("objects/*/*/manifest.json")))


def workers() -> list[int]:
    """Processes of Ray that are at a task."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(b"ray::_run_job"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found
