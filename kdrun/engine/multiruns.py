"""The record of a multirun: what was asked for, and how each job stands, in a folder that other processes write and read, too.

multirun.json    recipe, words of the command line, process, and whether all is over
jobs.jsonl       a line a job, as soon as it is known: its overrides, and those that it has of its own
job-MARK.json    of a job that has begun: its state, why it failed, where its records lie; written by the process that runs it
job-MARK.taken   of a job that a process has or had, where processes take jobs by themselves
job-MARK.lock    held by the process that is at it
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
import platform
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdrun.engine.records import is_running, new_run_folder, read_json, read_record, write_record
from kdrun.errors import concealed
from kdrun.runtime.journal import JOURNAL

__all__ = ["MULTIRUN", "JobState", "Multirun", "newest_multirun"]

MULTIRUN = "multirun.json"
"""Its name; a folder that has it is that of a multirun."""

JOBS = "jobs.jsonl"

UNREADABLE = (OSError, ValueError, TypeError, LookupError, RecursionError)
"""What reading a damaged record raises."""

BAD = ("failed", "interrupted")
ENDED = ("finished", "failed", "pruned")


@dataclass(frozen=True)
class JobState:
    """How a job stands. ``words`` are the overrides that it has of its own; ``state`` is waiting, running, finished, pruned, failed
    or interrupted; ``error`` is why it ended early, in a line; ``records`` is the folder of its run."""

    words: str
    state: str = "waiting"
    error: str | None = None
    records: Path | None = None
    began: float | None = None
    updated: float | None = None


class Multirun:
    """The folder of a multirun. Handed to another process, it writes into the same one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._known: set[str] = set()
        self._held: dict[str, Any] = {}

    @classmethod
    def begin(cls, runs: Path, recipe: str, given: Sequence[str]) -> Multirun:
        """A new folder in that of the recipe's runs. Raises ``StoreError``."""
        return cls(new_run_folder(runs / recipe.replace("/", "-"), "multirun"))._opened(recipe, given)

    def again(self, recipe: str, given: Sequence[str]) -> Multirun:
        """The same folder for those jobs once more."""
        return Multirun(self.folder)._opened(recipe, given)

    def _opened(self, recipe: str, given: Sequence[str]) -> Multirun:
        words = [concealed(word) for word in given]
        content = {"recipe": recipe, "given": words, "started": _now(), "closed": False}
        write_record(self.folder / MULTIRUN, {**content, **_here()})
        for pattern in ("job-*.taken", "job-*.lock"):
            for left in self.folder.glob(pattern):
                left.unlink(missing_ok=True)
        self._known = {_mark(job["overrides"]) for job in self._jobs()}
        return self

    def close(self) -> None:
        """All jobs are over, or will not be run. A folder in which no job has begun is taken away."""
        if not any(self.folder.glob("job-*.json")):
            shutil.rmtree(self.folder, ignore_errors=True)
            return
        write_record(self.folder / MULTIRUN, {**self.about(), "closed": True})

    def expect(self, overrides: Sequence[str], words: str) -> None:
        """A job that is to be run, told once."""
        mark = _mark(overrides)
        if mark not in self._known:
            self._known.add(mark)
            line = json.dumps({"overrides": list(overrides), "words": words})
            with contextlib.suppress(OSError), (self.folder / JOBS).open("a", encoding="utf-8") as file:
                file.write(f"{concealed(line)}\n")

    def take(self, first: Sequence[str], besides: Collection[tuple[str, ...]] = ()) -> list[str] | None:
        """A job that no process is at or has been at, this one is now: ``first``, else the next in order; None if all others are ``besides``.

        The system lets go of what a process held that has died: its job can be taken again.
        """
        for overrides in [list(first), *(job["overrides"] for job in self._jobs())]:
            if tuple(overrides) not in besides and self._hold(_mark(overrides)):
                taken = self.folder / f"job-{_mark(overrides)}.taken"
                if not taken.exists() or self.state(overrides).state not in ENDED:
                    taken.touch()
                    return overrides
                self.let_go(overrides)
        return None

    def give_back(self, overrides: Sequence[str]) -> None:
        """Leave a job to whoever takes it next."""
        (self.folder / f"job-{_mark(overrides)}.taken").unlink(missing_ok=True)
        self.let_go(overrides)

    def _hold(self, mark: str) -> bool:
        """Whether this process holds the lock of a job from now on."""
        from filelock import FileLock, Timeout

        lock = FileLock(str(self.folder / f"job-{mark}.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
        self._held[mark] = lock
        return True

    def let_go(self, overrides: Sequence[str]) -> None:
        """This process is no longer at a job."""
        if (lock := self._held.pop(_mark(overrides), None)) is not None:
            lock.release()

    def __getstate__(self) -> dict[str, Any]:
        """What another process gets: it holds nothing yet."""
        return {**vars(self), "_held": {}}

    def tell(self, overrides: Sequence[str], words: str, state: str, **more: Any) -> None:
        """How a job stands. That the disk refuses it hurts no run."""
        path = self.folder / f"job-{_mark(overrides)}.json"
        with contextlib.suppress(*UNREADABLE):
            before = read_json(path) if path.is_file() and (state != "running" or more) else {}
            content = {"began": _now(), **before, "words": words, "state": state, **_here(), **more}
            write_record(path, content)

    def about(self) -> dict[str, Any]:
        """What ``multirun.json`` says; empty where it cannot be read."""
        with contextlib.suppress(*UNREADABLE):
            found = read_json(self.folder / MULTIRUN)
            if isinstance(found, dict) and isinstance(found.get("given"), list):
                return found
        return {}

    def _jobs(self) -> list[dict[str, Any]]:
        found = []
        with contextlib.suppress(OSError, UnicodeDecodeError):
            for line in (self.folder / JOBS).read_text(encoding="utf-8").splitlines():
                with contextlib.suppress(*UNREADABLE):
                    job = json.loads(line)
                    found.append({"overrides": [str(o) for o in job["overrides"]], "words": str(job["words"])})
        return found

    def states(self) -> list[JobState]:
        """All jobs in their order."""
        return [self.state(job["overrides"], job["words"]) for job in self._jobs()]

    def state(self, overrides: Sequence[str], words: str = "") -> JobState:
        """How a job stands; one whose process is gone was interrupted."""
        path = self.folder / f"job-{_mark(overrides)}.json"
        try:
            told = read_json(path) if path.is_file() else {}
            state, name = str(told.get("state", "waiting")), told.get("records")
            error = None if told.get("error") is None else str(told["error"])
            if state == "running" and not is_running(told):
                state, error = "interrupted", "the process ended without a word"
            records = self.folder.parent / Path(str(name)).name if name else None
            return JobState(words, state, error, records, _seconds(told.get("began")), _seconds(told.get("updated")))
        except UNREADABLE:
            return JobState(words)

    def finished(self, overrides: Sequence[str]) -> Path | None:
        """The folder of the records of a job that has ended well, if they are there."""
        found = self.state(overrides)
        if found.state != "finished" or found.records is None or found.records.is_symlink():
            return None
        return found.records if read_record(found.records)["state"] == "finished" else None

    def updated(self) -> float:
        """When something was last heard of it, or of a job that is going on. Raises ``OSError``."""
        running = [job.records / JOURNAL for job in self.states() if job.state == "running" and job.records is not None]
        files = [self.folder / MULTIRUN, *self.folder.glob("job-*.json"), *(file for file in running if file.is_file())]
        return max(file.stat().st_mtime for file in files)

    def unfinished(self) -> list[JobState]:
        """The jobs that failed, were interrupted or had not begun."""
        return [job for job in self.states() if job.state in (*BAD, "waiting")]


def newest_multirun(runs: Path, recipe: str, given: Sequence[str] = ()) -> Multirun | None:
    """The newest multirun of a recipe, of those with these words if there are any."""
    folder = runs / recipe.replace("/", "-")
    for path in sorted(folder.glob(f"*/{MULTIRUN}"), reverse=True):
        found = Multirun(path.parent)
        about = found.about()
        if about and not path.parent.is_symlink() and (not given or set(about["given"]) == set(given)):
            return found
    return None


def _here() -> dict[str, Any]:
    return {"process": os.getpid(), "machine": platform.node(), "updated": _now()}


def _now() -> float:
    return datetime.datetime.now().timestamp()


def _seconds(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _mark(overrides: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(sorted(overrides)).encode()).hexdigest()[:16]
