"""The records that runs leave, each in a folder of its own: configuration, environment, keys, curves, models, result."""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import json
import os
import platform
import re
import sys
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from kdrun.config.places import target
from kdrun.engine.git_state import git_state
from kdrun.errors import StoreError, concealed
from kdrun.runtime.files import ensure_file, ensure_folder

__all__ = [
    "PARTS",
    "RECORDS",
    "SHOWN",
    "environment",
    "is_running",
    "new_run_folder",
    "read_if_sound",
    "read_json",
    "read_record",
    "ready_folder",
    "recorded_runs",
    "recorded_whole",
    "tidy_records",
    "write_record",
]

PARTS = "parts.json"
"""What a run was made of beside its settings: a hash of each part's source, and of what was read from outside."""

RECORDS = ("config.yaml", "environment.json", "keys.json", PARTS, "curves.json", "models.json", "result.json")
"""What a run that has ended well leaves in its folder, beside what trackers do."""

SHOWN = "shown.json"
"""What stages give to be shown on pages, by stage; there where any does."""

PART_SECONDS = 86400.0
"""After so long, nobody writes a temporary file of a record any more, on whatever machine it was."""

PACKAGES = ("kdrun", "torch", "torchvision", "hydra-core", "numpy", "torchmetrics", "timm", "transformers")
"""What the records tell the versions of."""


def recorded_runs(root: str | Path) -> list[tuple[Path, dict[str, Any]]]:
    """Every run's folder under ``root``, those of reproductions included, and its record, oldest first of a recipe."""
    patterns = ("*/*/result.json", "*/*/*/result.json")
    found = {path.parent for pattern in patterns for path in Path(root).glob(pattern) if _is_within(path, Path(root))}
    return [(folder, read_record(folder)) for folder in sorted(found)]


def _is_within(path: Path, root: Path) -> bool:
    """Whether a record lies below ``root``, and no link leads out to it."""
    found, top = target(path), target(root)
    return found is not None and top is not None and found.is_relative_to(top)


def read_record(folder: Path) -> dict[str, Any]:
    """The record of a run; ``metrics`` maps labels to numbers.

    ``state`` is running, finished, pruned, failed, interrupted, or broken where it cannot be read.
    """
    nothing: dict[str, Any] = {"recipe": folder.parent.name, "seed": "", "overrides": [], "metrics": {}}
    try:
        record = {**nothing, "state": "finished", **_sound(read_json(folder / "result.json"))}
    except (OSError, ValueError, TypeError, RecursionError) as error:
        return {**nothing, "state": "broken", "error": f"result.json cannot be read ({error or type(error).__name__})"}
    if record["state"] == "running" and not is_running(record):
        record.update(state="interrupted", error="the process ended without a word")
    return record


def read_json(path: Path) -> Any:
    """The content of a JSON file. Raises ``OSError``, ``ValueError`` or ``RecursionError`` for what is none."""
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise ValueError("it is no file")
    return json.loads(path.read_text(encoding="utf-8"))


def read_if_sound(path: Path) -> Any:
    """The content of a JSON file; None for what is none."""
    try:
        return read_json(path)
    except (OSError, ValueError, RecursionError):
        return None


TEXTS = ("recipe", "state", "error", "arm", "scale", "method", "store", "started", "machine")


def _sound(content: Any) -> dict[str, Any]:
    """A record whose fields are what those who read it count on. Raises ``TypeError`` or ``ValueError``."""
    if not isinstance(content, Mapping):
        raise TypeError(f"a mapping is expected, got {type(content).__name__}")
    kinds = {
        **dict.fromkeys(TEXTS, str),
        "overrides": list,
        "plugins": list,
        "lowest": list,
        "metrics": dict,
        "objective": dict,
    }
    for name, kind in kinds.items():
        if content.get(name) is not None and not isinstance(content[name], kind):
            raise TypeError(f"{name} is a {type(content[name]).__name__}")
    found = {name: value for name, value in content.items() if value is not None or name not in ("recipe", "state")}
    found["overrides"] = [str(o) for o in content.get("overrides") or ()]
    found["plugins"] = [str(p) for p in content.get("plugins") or ()]
    found["lowest"] = [str(name) for name in content.get("lowest") or ()]
    metrics = content.get("metrics") or {}
    found["metrics"] = {k: float(v) for k, v in metrics.items() if isinstance(v, float) or _is_small(v)}
    objective = content.get("objective") or {}
    if not all(isinstance(word, str | None) for word in objective.values()):
        raise TypeError("objective holds more than names")
    return found


def _is_small(value: Any) -> bool:
    """Whether a whole number can be written as a floating-point one."""
    return isinstance(value, int) and value.bit_length() < 1000


def recorded_whole(folder: Path) -> bool:
    """Whether all records of a run that has ended well are there and can be read."""
    try:
        for name in RECORDS:
            if name.endswith(".json"):
                read_json(folder / name)
        config = folder / "config.yaml"
        return config.is_file() and config.read_text(encoding="utf-8").endswith("\n")
    except (OSError, ValueError, RecursionError):
        return False


def is_running(told: Mapping[str, Any]) -> bool:
    """Whether the ``process`` on the ``machine`` of a record is there; one of another machine counts as there."""
    return told.get("machine") != platform.node() or _runs(told.get("process"))


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
        "git": git_state(),
        "command": sys.argv,
    }


@contextlib.contextmanager
def _refusals(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}; set runs=FOLDER") from None


def ready_folder(folder: Path, runs: Path, files: Iterable[str] = ()) -> None:
    """Make a folder of records inside ``runs``, with room for its ``files``.

    What is something else than a folder, or than a file, is set aside under ``runs/corrupt``, with the reason. Raises
    ``StoreError`` if the system refuses.
    """
    root = runs if folder.is_relative_to(runs) else folder
    with _refusals(folder):
        ensure_folder(folder, root)
        for name in files:
            ensure_file(folder / name, root)


def tidy_records(folder: Path, written: Path) -> None:
    """Delete the temporary files of writers that are gone, in ``folder`` and the folders in it.

    How old they are is told by the clock of the disk, which has just ``written`` a record.
    """
    with contextlib.suppress(OSError):
        now = written.stat().st_mtime
        for path in (*folder.glob("*.part"), *folder.glob("*/*.part")):
            if re.search(r"\.[0-9a-f]{32}\.part$", path.name) and abs(now - path.lstat().st_mtime) > PART_SECONDS:
                path.unlink(missing_ok=True)


def new_run_folder(runs: Path, label: str) -> Path:
    """Make a folder in ``runs`` for the records of one run, named after the time in milliseconds; no two get the same.

    Raises ``StoreError`` if it cannot be made.
    """
    while True:
        stamp = datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S_%f")[:-3]
        path = runs / f"{stamp}-{label}"
        with _refusals(path):
            try:
                path.mkdir(parents=True)
                return path
            except FileExistsError:  # another run began in this millisecond
                if not path.is_dir():
                    raise
                time.sleep(0.001)


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)


def write_record(path: Path, content: Any) -> Path:
    """Write JSON, or text as it is, without secrets, under a temporary name of its own first. Raises ``StoreError`` if that fails."""
    text = content if isinstance(content, str) else json.dumps(content, indent=2, sort_keys=True, default=_plain)
    text = concealed(text)
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    with _refusals(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
    return path
