"""The runs of a sweep in worker processes, whose progress and results come back to this one."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from kdrun.engine.birth import worker_context
from kdrun.engine.jobs import Job, sendable
from kdrun.engine.session import Outcome
from kdrun.engine.sources import Sources
from kdrun.engine.waiting import Waiting
from kdrun.errors import KdrunError, Occupied, RunError
from kdrun.runtime.progress import Reporter

__all__ = ["Workers", "spread"]


class _Remote(Reporter):
    """Sends what happens in a worker to the main process."""

    def __init__(self, events: Any, label: str) -> None:
        self.events, self.label = events, label

    def stage_started(self, name: str, total: int | None = None, unit: str = "steps", done: int = 0) -> None:
        self.events.put(("stage_started", self.label, (name, total, unit, done), {}))

    def advanced(self, name: str, done: int, **values: float) -> None:
        self.events.put(("advanced", self.label, (name, done), values))

    def stage_finished(self, name: str, seconds: float) -> None:
        self.events.put(("stage_finished", self.label, (name, seconds), {}))

    def cached(self, name: str) -> None:
        self.events.put(("cached", self.label, (name,), {}))

    def expected(self, stages: Sequence[str]) -> None:
        self.events.put(("expected", self.label, (list(stages),), {}))

    def message(self, text: str) -> None:
        self.events.put(("message", self.label, (text,), {}))


_events: Any = None
_sources = Sources()


def _begin(events: Any, environment: Mapping[str, str]) -> None:
    global _events
    _events = events
    os.environ.clear()
    os.environ.update(environment)  # the main process's of now
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A worker whose parent was killed must not go on alone."""
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])  # type: ignore[union-attr]
    os._exit(1)


def _work(job: Job, waits: bool) -> Outcome:
    try:
        return job.run(_Remote(_events, job.label), _sources, waits=waits)
    except Occupied as error:
        raise Occupied(error.message, error.stage) from None
    except Exception as error:  # whose frames do not reach the main process
        if (told := sendable(error)) is None:
            raise
        raise told from None


class Workers:
    """So many processes for the runs of a sweep. They read what the first run needs while it is still being planned.

    As a context manager: they end with the block, at once where it fails.
    """

    def __init__(self, count: int, first: Job) -> None:
        context = worker_context()
        self.count = count
        self.events = context.Queue()
        told = (self.events, dict(os.environ))
        self.pool = ProcessPoolExecutor(count, mp_context=context, initializer=_begin, initargs=told)
        self._starting = threading.Thread(target=self._start, args=(first,), daemon=True)
        self._starting.start()

    def _start(self, first: Job) -> None:
        """Start all processes. A fork is waited for until what it is forked from has read its imports."""
        with _main_module_left_out():
            for _ in range(self.count):
                self.pool.submit(_make_ready, first)

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        self._starting.join()
        with _main_module_left_out():
            return self.pool.submit(function, *arguments)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._starting.join()
        if kind is not None and not issubclass(kind, BrokenProcessPool):
            for process in list((self.pool._processes or {}).values()):
                process.terminate()
        self.pool.shutdown(wait=kind is None, cancel_futures=kind is not None)


def _make_ready(job: Job) -> None:
    """Read what the stages of a run are made of. What is wrong with that is told by who plans, or runs it."""
    with contextlib.suppress(Exception):
        job.read_parts(_sources)


def spread(
    jobs: Sequence[Job],
    waiting: Waiting,
    workers: Workers,
    reporter: Reporter,
    on_done: Callable[[Job, Outcome], None],
    failed: Callable[[Job, KdrunError], None],
) -> dict[str, Outcome]:
    """Run the jobs in the processes of ``workers``, in the order of ``waiting``; return the outcomes of those that ended well, by label.

    ``on_done`` and ``failed`` are called here, as each job ends. Raises what ``failed`` raises.
    """
    outcomes: dict[str, Outcome] = {}
    listening = {job.label: reporter.of(job.label) for job in jobs}
    by_label = {job.label: job for job in jobs}
    running: dict[Future[Outcome], Job] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers.count:
                label = waiting.next([other.label for other in running.values()])
                if label is None:  # each would wait for one that runs
                    break
                listening[label].begun()
                job = by_label[label]
                running[workers.submit(_work, job, waiting.waits_for_others(label))] = job
            done, _ = wait(running, timeout=0.1, return_when=FIRST_COMPLETED)
            _relay(workers.events, listening)
            for future in done:
                job = running.pop(future)
                try:
                    outcomes[job.label] = future.result()
                except Occupied as error:
                    listening[job.label].postponed()
                    waiting.put_back(job.label, error.stage, [other.label for other in running.values()])
                except KdrunError as error:
                    failed(job, error)
                else:
                    on_done(job, outcomes[job.label])
    except BrokenProcessPool:
        raise RunError(
            "a process of the sweep ended without a word (perhaps memory ran out); the same call goes on where this stopped"
        ) from None
    return {job.label: outcomes[job.label] for job in jobs if job.label in outcomes}


@contextlib.contextmanager
def _main_module_left_out() -> Iterator[None]:
    """Processes started in the block do not import the program's main module, a script that would start the sweep again."""
    main = sys.modules["__main__"]
    found: dict[str, Any] = {name: vars(main)[name] for name in ("__file__", "__spec__") if name in vars(main)}
    vars(main).pop("__file__", None)
    main.__spec__ = None
    try:
        yield
    finally:
        vars(main).update(found)


def _relay(events: Any, listening: dict[str, Reporter]) -> None:
    with contextlib.suppress(queue.Empty):
        while True:
            name, label, arguments, values = events.get_nowait()
            getattr(listening[label], name)(*arguments, **values)
