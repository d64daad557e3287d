"""Many runs sharing one store: in this process, or spread over worker processes."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import multiprocessing.connection
import os
import queue
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Any

from kdrun.config.experiment import Experiment
from kdrun.engine.session import Outcome, Session
from kdrun.engine.sources import Sources
from kdrun.errors import KdrunError, RunError
from kdrun.grammar.nodes import Graph
from kdrun.runtime.processes import launched
from kdrun.runtime.progress import Reporter

__all__ = ["Job", "run_all", "sessions_of", "sweep", "workers_for"]

Swept = tuple[dict[str, Outcome], dict[str, KdrunError]]
"""By a job's label, the outcomes of the runs that ended well, and the errors of those that failed."""


@dataclass(frozen=True)
class Job:
    """One run of a sweep; ``planned`` if a run that differs in the seed alone has been planned."""

    label: str
    experiment: Experiment
    planned: bool = False

    def run(self, reporter: Reporter, sources: Sources | None = None) -> Outcome:
        """Raises what is wrong with the configuration, and ``RunError``."""
        session = Session(self.experiment, reporter, sources=sources)
        session.prepare(planned=self.planned)
        return session.run()


def workers_for(jobs: Sequence[Job], wanted: int | None) -> int:
    """How many runs at a time: as many as processors allow at the configured processes and threads each."""
    if launched() is not None:
        return 1
    if wanted is not None:
        return max(1, min(wanted, len(jobs)))
    hardware = jobs[0].experiment.config.get("hardware") or {} if jobs else {}
    if hardware.get("device", "cpu") != "cpu":
        return 1
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    each = int(hardware.get("threads", 1)) * int(hardware.get("processes", 1))
    return max(1, min(available // each, len(jobs)))


def sessions_of(jobs: Sequence[Job]) -> dict[str, Session]:
    """A session a job, by its label. A graph is checked once for all jobs that share it: those of an arm, at all its seeds."""
    graphs: dict[int, Graph] = {}
    found = {}
    for job in jobs:
        shared = id(job.experiment.config["graph"])
        found[job.label] = Session(job.experiment, graph=graphs.get(shared))
        graphs[shared] = found[job.label].graph
    return found


def sweep(jobs: Sequence[Job], sessions: Mapping[str, Session], *, workers: int | None, reporter: Reporter) -> Swept:
    """Run the jobs whose results the store does not hold, and read those of the others.

    ``sessions``: those of ``sessions_of``; ``workers``: how many processes, by default as many as ``workers_for`` says.
    """
    unfinished = [job for job in jobs if not sessions[job.label].executor.finished()]
    outcomes: dict[str, Outcome] = {}
    failures: dict[str, KdrunError] = {}
    if unfinished:
        _plan_each_arm(unfinished, sessions)
        unfinished = [replace(job, planned=True) for job in unfinished]
        workers = workers_for(unfinished, workers)
        stages = {s.keys[n.name] for s in sessions.values() for n in s.graph.stages()}
        missing = [k for k in stages if not next(iter(sessions.values())).store.contains(k)]
        reporter.message(
            f"{len(unfinished)} of {len(jobs)} runs to do, {len(missing)} of {len(stages)} stages, {workers} processes"
        )
        count = itertools.count(1)

        def done(job: Job, outcome: Outcome) -> None:
            reporter.message(f"{job.label} finished ({next(count)}/{len(unfinished)})")

        outcomes, failures = run_all(unfinished, workers=workers, reporter=reporter, on_done=done)
    for job in jobs:
        if job.label not in outcomes and job.label not in failures:
            outcomes[job.label] = sessions[job.label].run()
    return outcomes, failures


def _plan_each_arm(jobs: Sequence[Job], sessions: Mapping[str, Session]) -> None:
    """Plan the first job of each arm; stages that arms share are planned once."""
    first = {job.experiment.arm: sessions[job.label] for job in reversed(jobs)}
    known: dict[str, Any] = {}
    for session in first.values():
        session.prepare(known=known)


def run_all(
    jobs: Sequence[Job],
    *,
    workers: int,
    reporter: Reporter,
    on_done: Callable[[Job, Outcome], None] = lambda job, outcome: None,
) -> Swept:
    """Run all jobs.

    A run that fails (a loss that diverges) does not stop the others. Bad input or an interrupt ends the sweep at once.
    What was computed is in the store: the same call again goes on from there.
    """
    failures: dict[str, KdrunError] = {}

    def failed(job: Job, error: KdrunError) -> None:
        if error.exit_code != RunError.exit_code:
            raise error
        failures[job.label] = error
        reporter.message(f"{job.label} failed: {error}")

    if workers <= 1:
        outcomes, sources = {}, Sources()
        for job in jobs:
            try:
                outcomes[job.label] = job.run(_Labelled(reporter, job.label), sources)
            except KdrunError as error:
                failed(job, error)
            else:
                on_done(job, outcomes[job.label])
    else:
        outcomes = _spread(jobs, workers, reporter, on_done, failed)
    return outcomes, failures


class _Labelled(Reporter):
    """Puts a job's label before each stage's name."""

    def __init__(self, inner: Reporter, label: str) -> None:
        self.inner, self.label = inner, label

    def stage_started(self, name: str, total: int | None = None, unit: str = "steps") -> None:
        self.inner.stage_started(f"{self.label} {name}", total, unit)

    def advanced(self, name: str, done: int, **values: float) -> None:
        self.inner.advanced(f"{self.label} {name}", done, **values)

    def stage_finished(self, name: str, seconds: float) -> None:
        self.inner.stage_finished(f"{self.label} {name}", seconds)

    def message(self, text: str) -> None:
        self.inner.message(f"{self.label} {text}")


class _Remote(Reporter):
    """Sends what happens in a worker to the main process."""

    def __init__(self, events: Any, label: str) -> None:
        self.events, self.label = events, label

    def stage_started(self, name: str, total: int | None = None, unit: str = "steps") -> None:
        self.events.put(("stage_started", self.label, (name, total, unit), {}))

    def advanced(self, name: str, done: int, **values: float) -> None:
        self.events.put(("advanced", self.label, (name, done), values))

    def stage_finished(self, name: str, seconds: float) -> None:
        self.events.put(("stage_finished", self.label, (name, seconds), {}))

    def message(self, text: str) -> None:
        self.events.put(("message", self.label, (text,), {}))


_events: Any = None
_sources = Sources()


def _begin(events: Any) -> None:
    global _events
    _events = events
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A worker whose parent was killed must not go on alone."""
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])  # type: ignore[union-attr]
    os._exit(1)


def _work(job: Job) -> Outcome:
    try:
        return job.run(_Remote(_events, job.label), _sources)
    except KdrunError as error:
        raise RuntimeError(f"{type(error).__name__}\x1f{error.exit_code}\x1f{error}") from None


def _spread(
    jobs: Sequence[Job],
    workers: int,
    reporter: Reporter,
    on_done: Callable[[Job, Outcome], None],
    failed: Callable[[Job, KdrunError], None],
) -> dict[str, Outcome]:
    context = multiprocessing.get_context("spawn")
    events = context.Queue()
    outcomes: dict[str, Outcome] = {}
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(events,))
    labelled = {job.label: _Labelled(reporter, job.label) for job in jobs}
    try:
        pending = {pool.submit(_work, job): job for job in jobs}
        while pending:
            done, _ = wait(pending, timeout=0.1, return_when=FIRST_COMPLETED)
            _relay(events, labelled)
            for future in done:
                job = pending.pop(future)
                try:
                    outcomes[job.label] = _result(future)
                except KdrunError as error:
                    failed(job, error)
                else:
                    on_done(job, outcomes[job.label])
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.terminate()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()
    return {job.label: outcomes[job.label] for job in jobs if job.label in outcomes}


def _relay(events: Any, labelled: dict[str, _Labelled]) -> None:
    with contextlib.suppress(queue.Empty):
        while True:
            name, label, arguments, values = events.get_nowait()
            getattr(labelled[label], name)(*arguments, **values)


class _WorkerError(RunError):
    """An error that a worker process raised, with its own exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.exit_code = code


def _result(future: Any) -> Outcome:
    try:
        return future.result()
    except RuntimeError as error:
        pieces = str(error).split("\x1f")
        if len(pieces) == 3:
            raise _WorkerError(pieces[2], int(pieces[1])) from None
        raise
