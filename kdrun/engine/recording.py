"""A run and its record: begun before the first stage, closed however the run ends, gone on with by the run that resumes it."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import hashlib
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kdrun.config.places import refuse_led_away
from kdrun.config.writing import yaml_text
from kdrun.engine.models import models_of
from kdrun.engine.records import (
    PARTS,
    RECORDS,
    SHOWN,
    environment,
    new_run_folder,
    read_if_sound,
    read_record,
    ready_folder,
    recorded_whole,
    tidy_records,
    write_record,
)
from kdrun.engine.session import Outcome, Session
from kdrun.errors import KdrunError, Occupied, Pruned, StoreError, printable
from kdrun.graph.columns import lowest
from kdrun.runtime.journal import JOURNAL, Journal
from kdrun.runtime.progress import Fan
from kdrun.tracking import start_trackers

__all__ = ["run_recorded"]

OF_TRACKERS = ("metrics.jsonl", "tensorboard", "mlflow.db")
"""What trackers leave in the folder of a run, and take up again. Weights & Biases tells its runs apart by their marks."""


def run_recorded(
    session: Session, folder: Path | None = None, begun: Callable[[Path], None] = lambda folder: None
) -> tuple[Outcome, Path]:
    """Run with trackers; return what came of it, and the folder of its records.

    ``folder`` is the one to write into; by default a new one, or that of the newest run of the same stages which did not end well.
    ``begun`` hears of it before the first stage. Nothing is written before the plan has passed. Raises what ``Session.run`` raises.
    """
    session.prepare()
    with contextlib.nullcontext() if folder else _choosing(session):
        record = _Record(session, folder)
        if not record.finished:
            record.begin()
    begun(record.path)
    if record.finished:
        outcome = session.run()
        record.show(outcome)
        return outcome, record.path
    tracker = start_trackers(record.told(), record.path)
    journal = None if session.executor.finished() else Journal(record.path, record.title())
    if journal is not None:
        session.executor.reporter = Fan(session.executor.reporter, journal)
    session.executor.reporter.tracker = tracker
    try:
        outcome = session.run()
    except BaseException as error:
        record.broken(error)
        _end(journal, record.content["error"])
        tracker.finish({})
        raise
    _end(journal)
    for row in outcome.curves:  # of what was read from the store, and of epochs before a checkpoint, no step has told
        values = {name: value for name, value in row.items() if name not in ("stage", "epoch", "step")}
        tracker.log(values, row["step"], row["stage"])
    record.close(outcome)
    tracker.finish(outcome.metrics)
    return outcome, record.path


def _end(journal: Journal | None, error: str | None = None) -> None:
    if journal is not None:
        journal.end("", None if error is None else printable(error, line=True))
        journal.close()


@contextlib.contextmanager
def _choosing(session: Session) -> Iterator[None]:
    """Of equal runs that start at once, one goes on in the folder of a run that failed; the others see that it does."""
    from filelock import FileLock

    runs = _runs_of(session)
    _refuse_link(session)
    name = f".{runs.name}.lock"
    ready_folder(runs.parent, runs.parent, [name])
    ready_folder(runs, runs.parent)
    try:
        lock = FileLock(str(runs.with_name(name)))
        lock.acquire(poll_interval=0.05)
    except OSError as error:
        raise StoreError(f"cannot write {runs}: {error.strerror}; set runs=FOLDER") from None
    try:
        yield
    finally:
        lock.release()


def _runs_of(session: Session) -> Path:
    """Where the folders of a recipe's runs are made."""
    return Path(session.config.get("runs") or "runs") / session.experiment.recipe.replace("/", "-")


def _refuse_link(session: Session) -> None:
    """Raise ``StoreError`` where the folder of all records is a link that leads elsewhere, and nobody said so."""
    top = Path(session.config.get("runs") or "runs")
    if not any(override.path == "runs" for override in session.experiment.overrides):
        refuse_led_away(top)


def _links_in(folder: Path) -> list[Path]:
    """Links among the records of a run, which kdrun makes none of: through one, figures would be written elsewhere."""
    return [path for path in folder.iterdir() if path.is_symlink()] if folder.is_dir() else []


class _Record:
    """The record of one run, in a folder."""

    def __init__(self, session: Session, folder: Path | None) -> None:
        self.session, self.experiment = session, session.experiment
        config = self.experiment.config
        self.keys = {n.name: session.keys[n.name] for n in session.graph.stages()}
        self.seed = config.get("seed", 0)
        runs = _runs_of(session)
        self.path = folder or self._unfinished(runs) or new_run_folder(runs, f"seed{self.seed}")
        _refuse_link(session)
        previous = read_record(self.path) if self._has_same_keys(self.path) else {}
        self.finished = previous.get("state") == "finished" and recorded_whole(self.path)
        self.goes_on = bool(previous)
        started = previous.get("started") or datetime.datetime.now().isoformat(timespec="milliseconds")
        self.content = {**self._about(), "started": started, "state": "running"}

    def _about(self) -> dict[str, Any]:
        experiment, config = self.experiment, self.experiment.config
        chosen = {k: v for k, v in (("arm", experiment.arm), ("scale", experiment.scale)) if v is not None}
        return {
            "recipe": experiment.recipe,
            **chosen,
            "method": experiment.choices.get("transfer"),
            "seed": self.seed,
            "overrides": [*(f"{k}={v}" for k, v in chosen.items()), *experiment.changes],
            "store": str(self.session.store.root.resolve()),
            "plugins": [str(Path(p).resolve()) if p.endswith(".py") else p for p in config.get("plugins") or ()],
            "process": os.getpid(),
            "machine": platform.node(),
            "metrics": {},
            "lowest": lowest(self.session.graph),
            "objective": None,
            "counts": {},
            "seconds": {},
        }

    def _has_same_keys(self, folder: Path) -> bool:
        if folder.is_symlink():
            return False
        try:
            return not _links_in(folder) and bool(read_if_sound(folder / "keys.json") == self.keys)
        except OSError:
            return False

    def _unfinished(self, runs: Path) -> Path | None:
        """The folder of the newest run of the same stages that failed or was interrupted."""
        found = sorted(runs.glob("*/result.json"), reverse=True)
        folders = (path.parent for path in found if not path.parent.is_symlink())
        ended = ("failed", "interrupted")
        return next((f for f in folders if read_record(f)["state"] in ended and self._has_same_keys(f)), None)

    def title(self) -> str:
        """What the run is, in a line."""
        chosen = [f"{n} {self.content[n]}" for n in ("arm", "scale") if n in self.content]
        return ", ".join([self.experiment.recipe, *chosen, f"seed {self.seed}"])

    def told(self) -> dict[str, Any]:
        """What trackers are told: the configuration, and under ``run`` which run it is."""
        names = ("recipe", "arm", "scale", "method", "seed", "overrides")
        mark = hashlib.sha256(f"{self.path.resolve()} {self.content['started']}".encode()).hexdigest()[:16]
        return {**self.experiment.config, "run": {**{n: self.content.get(n) for n in names}, "id": mark}}

    def begin(self) -> None:
        """Write what is known before the first stage. What another run has left in the folder is taken away."""
        runs = _runs_of(self.session)
        ready_folder(self.path, runs.parent, [*RECORDS, SHOWN, OF_TRACKERS[0], JOURNAL])
        for link in _links_in(self.path):
            link.unlink()
        if not self.goes_on:
            for name in (*OF_TRACKERS, SHOWN):
                left = self.path / name
                shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
        write_record(self.path / "config.yaml", yaml_text(self.experiment.config))
        write_record(self.path / "environment.json", environment())
        write_record(self.path / "keys.json", self.keys)
        keys = self.session.keys
        write_record(self.path / PARTS, {"parts": keys.sources, "outside": keys.outside, "numerics": keys.numerics})
        written = write_record(self.path / "result.json", self.content)
        tidy_records(runs if self.path.parent == runs else self.path, written)

    def close(self, outcome: Outcome) -> None:
        """Write what a run gave that ended well."""
        write_record(self.path / "curves.json", outcome.curves)
        self.show(outcome)
        objective = outcome.reached and dataclasses.asdict(outcome.reached.objective)
        self._end(
            "finished",
            metrics=outcome.metrics,
            objective=objective,
            counts=outcome.counts,
            seconds=outcome.seconds,
        )

    def show(self, outcome: Outcome) -> None:
        """Write what stages give to be shown, unless it stands there."""
        if outcome.shown and read_if_sound(self.path / SHOWN) != outcome.shown:
            write_record(self.path / SHOWN, outcome.shown)

    def broken(self, error: BaseException) -> None:
        """Write why a run ended early, and which models it had made by then."""
        wanted = isinstance(error, KeyboardInterrupt | SystemExit | Occupied)
        state = "interrupted" if wanted else "pruned" if isinstance(error, Pruned) else "failed"
        text = str(error) if isinstance(error, KdrunError) else f"{type(error).__name__}: {error}".removesuffix(": ")
        executor = self.session.executor
        counted = {"counts": dict(executor.counts), "seconds": dict(executor.seconds)}
        self._end(state, error=text, **counted)

    def _end(self, state: str, **content: Any) -> None:
        write_record(self.path / "models.json", models_of(self.session))
        self.content.update(content, state=state)
        write_record(self.path / "result.json", self.content)
