"""The records that a run leaves in a folder of its own: configuration, environment, keys, curves, result."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from kdrun.config.experiment import Experiment
from kdrun.engine.session import Outcome, Session
from kdrun.errors import StoreError
from kdrun.tracking import start_trackers

__all__ = ["RunFolder", "environment", "recorded_runs", "run_recorded", "write_record"]


PACKAGES = ("kdrun", "torch", "torchvision", "hydra-core", "numpy", "torchmetrics", "timm", "transformers")
"""What the records tell the versions of."""


def run_recorded(session: Session) -> tuple[Outcome, Path]:
    """Run with trackers; return what came of it, and the folder of its records.

    Nothing is written before the plan has passed. Raises what ``Session.run`` raises.
    """
    experiment, reporter = session.experiment, session.executor.reporter
    seed = experiment.config.get("seed", 0)
    folder = RunFolder(experiment.config.get("runs") or "runs", experiment.recipe, f"seed{seed}")
    session.prepare()
    reporter.tracker = start_trackers(experiment.config, folder.path)
    outcome = session.run()
    folder.write("config.yaml", yaml.safe_dump(experiment.config, sort_keys=False))
    folder.write("environment.json", environment())
    folder.write("keys.json", {n.name: session.keys[n.name] for n in session.graph.stages()})
    folder.write("curves.json", outcome.curves)
    result = {
        "recipe": experiment.recipe,
        "seed": seed,
        "overrides": [*_chosen(experiment), *experiment.changes],
        "metrics": outcome.metrics,
        "objective": outcome.reached and dataclasses.asdict(outcome.reached.objective),
        "counts": outcome.counts,
        "seconds": outcome.seconds,
    }
    folder.write("result.json", result)
    reporter.tracker.finish(outcome.metrics)
    return outcome, folder.path


def recorded_runs(root: str | Path) -> list[tuple[Path, dict[str, Any]]]:
    """Every run's folder under ``root`` and its result, oldest first; its ``metrics`` map labels to values."""
    return [(path.parent, json.loads(path.read_text())) for path in sorted(Path(root).glob("*/*/result.json"))]


def _chosen(experiment: Experiment) -> list[str]:
    """The arm and the scale, as they are said on the command line."""
    return [f"{k}={v}" for k, v in (("arm", experiment.arm), ("scale", experiment.scale)) if v is not None]


def environment() -> dict[str, Any]:
    """Versions, machine and git state, for the records of a run."""
    versions = {}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "versions": versions,
        "git": _git(),
        "command": sys.argv,
    }


def _git() -> dict[str, Any] | None:
    def ask(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=5, check=True).stdout.strip()

    try:
        return {"commit": ask("rev-parse", "HEAD"), "changed": bool(ask("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None


class RunFolder:
    """A folder of records: config, environment, result. Created when the first record is written."""

    def __init__(self, root: str | Path, recipe: str, label: str = "") -> None:
        stamp = datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S_%f")[:-3]
        name = f"{stamp}{'-' + label if label else ''}"
        self.path = Path(root) / recipe.replace("/", "-") / name

    def write(self, name: str, content: Any) -> Path:
        """Write JSON, or text as it is. Raises ``StoreError`` if the folder cannot be written."""
        return write_record(self.path / name, content)


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)


def write_record(path: Path, content: Any) -> Path:
    """Write JSON, or text as it is, under a temporary name first. Raises ``StoreError`` if that fails."""
    text = content if isinstance(content, str) else json.dumps(content, indent=2, sort_keys=True, default=_plain)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(path.name + ".part")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}; set runs=FOLDER") from None
    return path
