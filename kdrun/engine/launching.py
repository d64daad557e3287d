"""The runs of a sweep where a launcher of Hydra's starts them: on a cluster, or in processes of its own.

What the machines share is the store alone. Each launched job runs one of the runs that no other is at: its own, or, while that waits
for a stage which another one computes, the next. What a dead machine had begun is launched again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from kdrun.config.paths import RecipeFile
from kdrun.engine.birth import in_environment
from kdrun.engine.jobs import Job, sendable
from kdrun.engine.remote_store import store_of
from kdrun.engine.session import Outcome, Session
from kdrun.engine.sources import Sources
from kdrun.engine.store import Store
from kdrun.errors import KdrunError, Occupied, RunError, printable
from kdrun.runtime.progress import QuietReporter, Reporter

__all__ = ["Cluster", "Launched", "Returned", "still_occupied"]

ROUNDS = 3
"""How often what was not run to its end is launched: machines die."""

_sources = Sources()

Run = TypeVar("Run")


@dataclass(frozen=True)
class Returned:
    """What a launched job gives: which run it ran, and what came of it."""

    label: str
    outcome: Outcome | None = None
    error: KdrunError | None = None


@dataclass(frozen=True)
class Launched:
    """What a launcher calls, in any process: with a run's number, which is that of the job that asks first for it."""

    jobs: Sequence[Job]
    targets: Mapping[str, Sequence[str]]
    """By label, the keys of what a run is to leave in the store."""
    folder: str = field(default_factory=os.getcwd)
    environment: Mapping[str, str] = field(default_factory=lambda: _own_environment())

    def __call__(self, number: int) -> Returned | None:
        """Run one of the runs that nobody is at; None if none is left."""
        with self._in_place():
            store = store_of(self.jobs[number].experiment.config)
            occupied: dict[str, str] = {}
            order = [self.jobs[number], *self.jobs[:number], *self.jobs[number + 1 :]]
            while True:
                for job in order:
                    if job.label not in occupied and not self.finished(store, job.label):
                        try:
                            found = self._alone(store, job)
                        except Occupied as error:
                            occupied[job.label] = error.stage
                        else:
                            if found is not None:
                                return found
                if not occupied:
                    return None
                occupied = still_occupied(store, occupied)

    def finished(self, store: Store, label: str) -> bool:
        """Whether a run has left what it is to leave."""
        return all(store.contains(key) for key in self.targets[label])

    def _alone(self, store: Store, job: Job) -> Returned | None:
        """The job's result; None if another process is at it, or was until now. Raises ``Occupied`` where that is so of a stage."""
        with store.lock_if_free(mark_of(self.targets[job.label], job.label)) as free:
            if not free or self.finished(store, job.label):
                return None
            try:
                return Returned(job.label, job.run(QuietReporter(), _sources, waits=False))
            except Occupied:
                raise
            except Exception as error:
                if (told := sendable(error)) is None:
                    traceback.print_exc()  # for the log that the launcher keeps
                    told = RunError(f"{type(error).__name__}: {error}")
                return Returned(job.label, error=told)

    @contextlib.contextmanager
    def _in_place(self) -> Iterator[None]:
        """In the folder where the sweep was started, if it is there, and with its settings of the environment."""
        before = os.getcwd()
        with in_environment(self.environment):
            if Path(self.folder).is_dir():
                os.chdir(self.folder)
            try:
                yield
            finally:
                os.chdir(before)


def mark_of(targets: Sequence[str], label: str) -> str:
    """The name of a run's lock, beside those of stages."""
    return f"run-{hashlib.sha256(' '.join([label, *targets]).encode()).hexdigest()[:40]}"


def _own_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("KDRUN_")}


def still_occupied(store: Store, occupied: Mapping[Run, str]) -> dict[Run, str]:
    """After a moment, those runs whose stages others still compute."""
    while True:
        time.sleep(store.poll_seconds)
        left = {label: key for label, key in occupied.items() if not store.contains(key) and not store.is_free(key)}
        if len(left) < len(occupied):
            return left


@dataclass(frozen=True)
class Cluster:
    """A launcher of Hydra's with its settings: ``launcher=ray``, ``hydra.launcher.…``; ``runs`` is where it hands things over."""

    recipe: RecipeFile
    words: tuple[str, ...]
    runs: str = "runs"

    @classmethod
    def of(cls, recipe: RecipeFile, overrides: Sequence[str]) -> Cluster | None:
        """The launcher that a command line chooses; None where runs are started here. Raises ``InputError`` for one that there is not."""
        from kdrun.config.launchers import check_launcher, words_of

        words = words_of(overrides)
        if not words:
            return None
        check_launcher(recipe, words)
        said = [word.partition("=")[2] for word in overrides if word.startswith("runs=")]
        return cls(recipe, words, *said[-1:])

    def run(
        self,
        jobs: Sequence[Job],
        sessions: Mapping[str, Session],
        reporter: Reporter,
        failed: Callable[[Job, KdrunError], None],
    ) -> dict[str, Outcome]:
        """Run the jobs wherever the launcher does; return the outcomes of those that ended well, by label.

        ``failed`` hears of the others, and may raise. Raises ``InputError`` for a launcher that there is not.
        """
        store = sessions[jobs[0].label].store
        targets = {label: [s.keys[name] for name in s.graph.targets] for label, s in sessions.items()}
        whole = Launched([_absolute(job, store) for job in jobs], targets)
        outcomes: dict[str, Outcome] = {}
        left, cause = {job.label: job for job in jobs}, "it was launched and has left nothing"
        for _ in range(ROUNDS):
            task = replace(whole, jobs=[job for job in whole.jobs if job.label in left])
            found, given_up = self._round(task, store, reporter)
            if given_up:
                cause = given_up
                reporter.message(f"the launcher gave up: {cause}")
            for one in found:
                job = left.pop(one.label)
                if one.outcome is not None:
                    outcomes[one.label] = one.outcome
                elif one.error is not None:
                    failed(job, one.error)
            left = {label: job for label, job in left.items() if not task.finished(store, label)}
            if not left:
                break
            reporter.message(f"{len(left)} runs are to be launched again: {', '.join(left)}")
        for job in left.values():
            failed(job, RunError(f"launched {ROUNDS} times and not run to its end ({cause})"))
        recorded = {job.label for job in jobs if _is_recorded(job)}
        return {label: outcome for label, outcome in outcomes.items() if label in recorded}

    def _round(self, task: Launched, store: Store, reporter: Reporter) -> tuple[list[Returned], str]:
        """Launch all jobs once, and wait until nobody is at one; what they gave, and why the launcher gave up if it did."""
        from kdrun.config.launchers import launch

        found: list[Any] = []
        cause = ""
        with _watched(task, store, reporter):
            try:
                found = launch(self.recipe, [*self.words, f"runs={self.runs}"], task, len(task.jobs))
            except KdrunError:
                raise
            except Exception as error:  # of one job that a machine has taken with it
                cause = printable(_last_line(error), line=True)
            while any(not store.is_free(mark_of(task.targets[job.label], job.label)) for job in task.jobs):
                time.sleep(store.poll_seconds)
        store.look_again()
        return [one for one in found if isinstance(one, Returned)], cause


def _last_line(error: Exception) -> str:
    """What an error says at its end, where those who repeat another's traceback say what it was."""
    lines = [line for line in str(error).strip().splitlines() if line.strip(" -=")]
    return f"{type(error).__name__}: {lines[-1].strip()}" if lines else type(error).__name__


def _is_recorded(job: Job) -> bool:
    """Whether the records that a run is to keep can be seen from here; else they are written here, from the store."""
    return job.records is None or (job.records / "result.json").is_file()


def _absolute(job: Job, store: Store) -> Job:
    """The job with the places that it names as any folder and machine reads them."""
    config = {**job.experiment.config, "store": store.address}
    experiment = replace(job.experiment, config=config)
    return replace(job, experiment=experiment, records=job.records and job.records.absolute())


@contextlib.contextmanager
def _watched(task: Launched, store: Store, reporter: Reporter) -> Iterator[None]:
    """While the block runs, ``reporter`` hears which runs have begun and which are over, as the store tells."""
    over = threading.Event()
    watching = threading.Thread(target=_watch, args=(task, store, reporter, over), daemon=True)
    watching.start()
    try:
        yield
    finally:
        over.set()
        watching.join()


def _watch(task: Launched, store: Store, reporter: Reporter, over: threading.Event) -> None:
    begun: set[str] = set()
    waiting = [job.label for job in task.jobs]
    while waiting:
        last = over.wait(5 * store.poll_seconds)
        for label in list(waiting):
            with contextlib.suppress(KdrunError, OSError):
                ended = task.finished(store, label)
                if label not in begun and (ended or not store.is_free(mark_of(task.targets[label], label))):
                    begun.add(label)
                    reporter.of(label).begun()
                if ended:
                    waiting.remove(label)
                    reporter.of(label).ended()
                    reporter.message(f"{label} finished ({len(task.jobs) - len(waiting)}/{len(task.jobs)})")
        if last:
            return
