"""Many runs sharing one store: in this process, or spread over worker processes."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from kdrun.engine.jobs import Job
from kdrun.engine.launching import Cluster
from kdrun.engine.pool import Workers, spread
from kdrun.engine.session import Outcome, Session
from kdrun.engine.sources import Sources
from kdrun.engine.waiting import Waiting
from kdrun.errors import KdrunError, RunError, printable
from kdrun.grammar.nodes import Graph
from kdrun.runtime.processes import launched
from kdrun.runtime.progress import Reporter, duration

__all__ = ["By", "run_all", "sessions_of", "sweep", "workers_for"]

By = int | Cluster | None
"""Who runs a sweep: so many processes here, as many as ``workers_for`` says, or a launcher."""

Swept = tuple[dict[str, Outcome], dict[str, KdrunError]]
"""By a job's label, the outcomes of the runs that ended well, and the errors of those that failed."""


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


def sweep(jobs: Sequence[Job], sessions: Mapping[str, Session], *, workers: By, reporter: Reporter) -> Swept:
    """Run the jobs whose results the store does not hold, and read those of the others.

    ``sessions``: those of ``sessions_of``.
    """
    unfinished = [job for job in jobs if not sessions[job.label].executor.finished()]
    outcomes: dict[str, Outcome] = {}
    failures: dict[str, KdrunError] = {}
    if unfinished:
        with _processes(unfinished, workers) as processes:
            _plan_each_arm(unfinished, sessions)
            unfinished = [replace(job, planned=True) for job in unfinished]
            outcomes, failures = _planned(unfinished, sessions, processes, reporter)
    for job in jobs:
        if job.label not in outcomes and job.label not in failures:
            outcomes[job.label] = job.outcome(sessions[job.label])
    return outcomes, failures


def _processes(jobs: Sequence[Job], workers: By) -> contextlib.AbstractContextManager[Workers | Cluster | None]:
    """What runs the jobs beside this process, from now on; nothing where this one does."""
    if isinstance(workers, Cluster):
        return contextlib.nullcontext(workers)
    count = workers_for(jobs, workers)
    return Workers(count, jobs[0]) if count > 1 else contextlib.nullcontext()


def _planned(
    unfinished: Sequence[Job], sessions: Mapping[str, Session], workers: Workers | Cluster | None, reporter: Reporter
) -> Swept:
    """Run the jobs that are to be run, and tell of it. ``sessions`` are those of all jobs."""
    keys = {label: session.stage_keys() for label, session in sessions.items()}
    stages = {key for found in keys.values() for key in found}
    store = next(iter(sessions.values())).store
    missing = [key for key in stages if not store.contains(key)]
    processes = workers.count if isinstance(workers, Workers) else 1 if workers is None else len(unfinished)
    by = " ".join(workers.words) if isinstance(workers, Cluster) else f"{processes} processes"
    runs = f"{len(unfinished)} of {len(sessions)} runs to do"
    reporter.message(f"{runs}, {len(missing)} of {len(stages)} stages, {by}")
    reporter.sweep([job.label for job in unfinished], processes)
    _tell_expected(unfinished, sessions, reporter)
    count, started = itertools.count(1), time.monotonic()

    def done(job: Job, outcome: Outcome) -> None:
        ended = next(count)
        reporter.of(job.label).ended()
        left = (len(unfinished) - ended) * (time.monotonic() - started) / ended
        more = f", about {duration(left)} left" if ended < len(unfinished) else ""
        reporter.message(f"{job.label} finished ({ended}/{len(unfinished)}{more})")

    with store.leases.held(unfinished[0].experiment.recipe, stages):  # of runs that have not begun, too
        if isinstance(workers, Cluster):
            return _launched(unfinished, sessions, workers, reporter)
        due = {job.label: _due(sessions[job.label]) for job in unfinished}
        waiting = Waiting([job.label for job in unfinished], due, store.contains)
        return run_all(unfinished, waiting, workers=workers, reporter=reporter, on_done=done)


def _due(session: Session) -> list[str]:
    """The keys of what a run is to compute, in order."""
    return [session.keys[name] for name in session.executor.missing()]


def _plan_each_arm(jobs: Sequence[Job], sessions: Mapping[str, Session]) -> None:
    """Plan the first job of each arm; stages that arms share are planned once."""
    first = {job.experiment.arm: sessions[job.label] for job in reversed(jobs)}
    known: dict[str, Any] = {}
    for session in first.values():
        session.prepare(known=known)


def _tell_expected(jobs: Sequence[Job], sessions: Mapping[str, Session], reporter: Reporter) -> None:
    """Tell what each run will compute; a stage that several share stands with the first of them."""
    told: set[str] = set()
    for job in jobs:
        session = sessions[job.label]
        due = [name for name in session.executor.missing() if session.keys[name] not in told]
        told |= {session.keys[name] for name in due}
        reporter.of(job.label).expected(due)


def _launched(jobs: Sequence[Job], sessions: Mapping[str, Session], cluster: Cluster, reporter: Reporter) -> Swept:
    failures: dict[str, KdrunError] = {}
    return cluster.run(jobs, sessions, reporter, _failing(failures, reporter)), failures


def _failing(failures: dict[str, KdrunError], reporter: Reporter) -> Callable[[Job, KdrunError], None]:
    """What is told of a run that failed: it does not stop the others, and stands among the failures. Bad input is raised."""

    def failed(job: Job, error: KdrunError) -> None:
        if error.exit_code != RunError.exit_code:
            raise error
        failures[job.label] = error
        reporter.of(job.label).ended(printable(error, line=True))
        reporter.message(f"{job.label} failed: {error}")

    return failed


def run_all(
    jobs: Sequence[Job],
    waiting: Waiting,
    *,
    workers: Workers | None,
    reporter: Reporter,
    on_done: Callable[[Job, Outcome], None] = lambda job, outcome: None,
) -> Swept:
    """Run all jobs, in this process, or in ``workers`` in the order of ``waiting``.

    A run that fails (a loss that diverges) does not stop the others. Bad input or an interrupt ends the sweep at once.
    What was computed is in the store: the same call again goes on from there.
    """
    failures: dict[str, KdrunError] = {}
    failed = _failing(failures, reporter)
    if workers is None:
        outcomes, sources = {}, Sources()
        for job in jobs:
            reporter.of(job.label).begun()
            try:
                outcomes[job.label] = job.run(reporter.of(job.label), sources)
            except KdrunError as error:
                failed(job, error)
            else:
                on_done(job, outcomes[job.label])
    else:
        outcomes = spread(jobs, waiting, workers, reporter, on_done, failed)
    return outcomes, failures
