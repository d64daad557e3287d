"""The records that runs leave, each in a folder of its own: configuration, environment, keys, curves, models, result."""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdrun.errors import StoreError

__all__ = ["environment", "new_run_folder", "read_record", "recorded_runs", "write_record"]


PACKAGES = ("kdrun", "torch", "torchvision", "hydra-core", "numpy", "torchmetrics", "timm", "transformers")
"""What the records tell the versions of."""


def recorded_runs(root: str | Path) -> list[tuple[Path, dict[str, Any]]]:
    """Every run's folder under ``root``, those of reproductions included, and its record, oldest first of a recipe."""
    found = {path.parent for pattern in ("*/*/result.json", "*/*/*/result.json") for path in Path(root).glob(pattern)}
    return [(folder, read_record(folder)) for folder in sorted(found)]


def read_record(folder: Path) -> dict[str, Any]:
    """The record of a run; ``metrics`` maps labels to numbers.

    ``state`` is running, finished, failed, interrupted, or broken where it cannot be read.
    """
    nothing: dict[str, Any] = {"recipe": folder.parent.name, "seed": "", "overrides": [], "metrics": {}}
    try:
        content = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        record = {**nothing, "state": "finished", **content}
        record["overrides"] = [str(o) for o in record["overrides"]]
        record["metrics"] = {str(k): v for k, v in record["metrics"].items() if isinstance(v, int | float)}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        return {**nothing, "state": "broken", "error": f"result.json cannot be read ({error})"}
    if record["state"] == "running" and record.get("machine") == platform.node() and not _runs(record.get("process")):
        record.update(state="interrupted", error="the process ended without a word")
    return record


def _runs(process: Any) -> bool:
    """Whether a process of this machine is there."""
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, TypeError, ValueError):
        return False
    except OSError:
        return True
    return True


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


def new_run_folder(runs: Path, label: str) -> Path:
    """Make a folder in ``runs`` for the records of one run, named after the time in milliseconds; no two get the same.

    Raises ``StoreError`` if it cannot be made.
    """
    while True:
        stamp = datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S_%f")[:-3]
        path = runs / f"{stamp}-{label}"
        try:
            path.mkdir(parents=True)
            return path
        except FileExistsError:  # another run began in this millisecond
            if not path.is_dir():
                raise StoreError(f"cannot write {path}: a file is in the way; set runs=FOLDER") from None
            time.sleep(0.001)
        except OSError as error:
            raise StoreError(f"cannot write {path}: {error.strerror}; set runs=FOLDER") from None


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)


def write_record(path: Path, content: Any) -> Path:
    """Write JSON, or text as it is, under a temporary name of its own first. Raises ``StoreError`` if that fails."""
    text = content if isinstance(content, str) else json.dumps(content, indent=2, sort_keys=True, default=_plain)
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise StoreError(f"cannot write {path}: {error.strerror}; set runs=FOLDER") from None
    return path
