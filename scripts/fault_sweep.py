"""The sweep that ``faults.py`` disturbs: twelve runs that share a teacher, each call in a forked process; and what it ends with."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib
import json
import os
import pkgutil
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kdrun.api.study import Study
from kdrun.cli import no_interrupt_lost
from kdrun.config.compose import Composer
from kdrun.config.experiment import Selection
from kdrun.engine import garbage
from kdrun.engine.leases import LEASE_SECONDS
from kdrun.errors import KdrunError
from kdrun.runtime.progress import Reporter

__all__ = ["CHECKPOINT_SECONDS", "RECIPE", "SETTINGS", "Ended", "Process", "Sweep", "copied"]

RECIPE = """# @package _global_
# students of one teacher, at four seeds
defaults:
  - override /protocol: distillation
  - override /transfer: distillation/kd
  - override /teacher: mlp_wide
  - override /student: mlp_tiny
  - override /data: digits
epochs: 3
graph:
  fit_teacher: {seed: 0}
arms:
  kd: {}
  hot: {transfer.temperature: 8.0}
  scratch: {transfer: none}
seeds: 4
claims:
  listens: {test: kd.test.accuracy > scratch.test.accuracy, says: a soft answer helps}
  softens: {test: hot.test.accuracy > scratch.test.accuracy, says: a softer one helps as well}
"""

CHECKPOINT_SECONDS = 0.05

SETTINGS = ("store=store", "runs=runs", f"checkpoint_seconds={CHECKPOINT_SECONDS}", "hardware.threads=1")
"""Paths are relative: each case has a folder of its own to work in."""

UNEXPECTED = 70
"""The exit code of a process that ended in a traceback."""

HEAVY = (
    *("sklearn.datasets", "torch._dynamo", "torch._inductor", "torch.utils.flop_counter"),
    *("pyarrow.parquet", "safetensors.torch", "filelock", "torch.fx.experimental.symbolic_shapes"),
    *("kdrun.data.handwritten_digits", "kdrun.models.export"),
)


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code, negative for a signal, and what it said."""

    code: int
    said: str

    @property
    def orderly(self) -> bool:
        """Whether it ended as a command may: by a signal, or with a code and a line, never with a traceback."""
        return self.code != UNEXPECTED and "Traceback" not in self.said


class Process:
    """A forked process that works in ``folder``; ``log`` has what it says."""

    def __init__(self, folder: Path, log: Path, work: Callable[[], None]) -> None:
        self.log = log
        self._code: int | None = None
        sys.stdout.flush()
        self.pid = os.fork()
        if not self.pid:
            _become(folder, log, work)

    def ended(self) -> bool:
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code is not None

    def signal(self, which: int) -> None:
        if not self.ended():
            os.kill(self.pid, which)

    def wait(self) -> Ended:
        if self._code is None:
            self._code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return Ended(self._code, self.log.read_text(errors="replace"))


def _become(folder: Path, log: Path, work: Callable[[], None]) -> None:
    """In the forked process: do the work as a command does, and end with its exit code."""
    code = UNEXPECTED
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.chdir(folder)
        with no_interrupt_lost():
            work()
        code = 0
    except KdrunError as error:
        code = error.exit_code
        print(f"kdrun: {error}", flush=True)
    except KeyboardInterrupt:
        code = 130
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


class _Told(Reporter):
    """Writes what is worth a line; ``at_step`` hears of every step."""

    def __init__(self, at_step: Callable[[str], None]) -> None:
        self.at_step = at_step

    def advanced(self, name: str, done: int, **values: float) -> None:
        self.at_step(name)

    def message(self, text: str) -> None:
        print(text, flush=True)


class Sweep:
    """The study, composed once; ``home`` holds its recipe. Forked processes inherit what it has loaded."""

    def __init__(self, home: Path) -> None:
        (home / "recipes").mkdir(parents=True, exist_ok=True)
        (home / "recipes" / "trial.yaml").write_text(RECIPE)
        self.home = home
        before = os.getcwd()
        os.chdir(home)
        selection = Selection.of(list(SETTINGS))
        self.study = Study.of(Composer.named("trial", selection.overrides), selection)
        os.chdir(before)
        for name in HEAVY:
            importlib.import_module(name)
        for package in ("kdrun.engine", "kdrun.stages", "kdrun.stages.train", "kdrun.step", "kdrun.runtime"):
            for found in pkgutil.iter_modules(importlib.import_module(package).__path__):
                importlib.import_module(f"{package}.{found.name}")

    def start(
        self,
        folder: Path,
        log: Path,
        before: Callable[[], None] = lambda: None,
        at_step: Callable[[str], None] = lambda name: None,
    ) -> Process:
        """Begin the sweep in ``folder``; ``before`` is called in its process first."""

        def work() -> None:
            before()
            self._run(at_step)

        return Process(folder, log, work)

    def finish(self, folder: Path, log: Path) -> Process:
        """The rerun that is judged: the sweep, then every stage read, leftovers tidied, models exported, all written down."""

        def work() -> None:
            metrics = self._run(lambda name: None)
            for job in self.study.jobs:
                session = self.study.sessions[job.label]
                session.executor.reporter = _Told(lambda name: None)
                for node in session.graph.stages():
                    session.executor.result(node.name)
                    session.executor.forget()
            found = {"metrics": metrics, "stages": self._stages(), "exports": self._exports(), "left": self._left()}
            Path("found.json").write_text(json.dumps(found, sort_keys=True, indent=1))

        return Process(folder, log, work)

    def _run(self, at_step: Callable[[str], None]) -> dict[str, Any]:
        outcome = self.study.run(_Told(at_step), 1, "runs")
        for label, failure in outcome.failures.items():
            raise KdrunError(f"{label} failed: {failure}")
        return {label: dict(one.metrics) for label, one in outcome.outcomes.items()}

    @property
    def store(self) -> Any:
        return next(iter(self.study.sessions.values())).store

    def keys(self) -> dict[str, str]:
        """Of all stages of all runs, the run and stage that each key stands for."""
        return {
            session.keys[node.name]: f"{label} {node.name}"
            for label, session in self.study.sessions.items()
            for node in session.graph.stages()
        }

    def _stages(self) -> dict[str, str]:
        """The bytes of every result, by key, as checksums."""
        found = {}
        for key in sorted(self.keys()):
            digest = hashlib.sha256()
            for path in sorted(self.store.place(key).iterdir()):
                digest.update(path.name.encode() + path.read_bytes())
            found[key] = digest.hexdigest()
        return found

    def _exports(self) -> dict[str, str]:
        """The trained students as files for other programs, as checksums."""
        from kdrun.engine.models import models_of
        from kdrun.models.export import export

        found = {}
        for job in self.study.jobs[:3]:
            made = models_of(self.study.sessions[job.label])["fit_student"]
            model = self.store.read(made["key"], [made["models"][0]])[made["models"][0]]
            path = Path("exports") / f"{job.label.replace(' ', '-')}.safetensors"
            export(model.spec, model.state, made["input"], "safetensors", path)
            found[job.label] = hashlib.sha256(path.read_bytes()).hexdigest()
        return found

    def _left(self) -> list[str]:
        """What is left in two days' time beside results, after tidying as a run does."""
        later = garbage._now(self.store) + 2 * LEASE_SECONDS
        garbage.delete(self.store, garbage.leftovers(self.store, later))
        places = (self.store.root / name for name in ("tmp", "leases", "checkpoints/tmp"))
        return sorted(str(path) for place in places if place.is_dir() for path in place.iterdir())


def copied(source: Path, target: Path) -> Path:
    """A store and its run folders, with the times of their files."""
    for name in ("store", "runs"):
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name, symlinks=True)
    return target
