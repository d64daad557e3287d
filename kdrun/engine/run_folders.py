"""The folder of a run that somebody names: by its path, by the end of it, or a reproduction's with arm and seed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from kdrun.engine.query import RecordedRun
from kdrun.engine.records import read_record, recorded_runs
from kdrun.errors import InputError, nearest

__all__ = ["find_run", "run_in"]


def find_run(text: str, runs: str | Path = "runs") -> RecordedRun:
    """The run of a folder, or the one under ``runs`` whose path ends in ``text``.

    Raises ``InputError`` where there is none, or several.
    """
    path = Path(os.path.expanduser(text))
    if (path / "result.json").is_file():
        return RecordedRun(path, read_record(path))
    if path.is_dir():
        return run_in(path)
    known = recorded_runs(runs)
    tail = Path(text).parts
    found = [(folder, record) for folder, record in known if tail and folder.parts[-len(tail) :] == tail]
    if len(found) == 1:
        return RecordedRun(*found[0])
    if not found:
        near = nearest(text, [folder.name for folder, _ in known])
        raise InputError(f"there is no run '{text}'{near}; `kdrun runs` lists their folders")
    told = ", ".join(str(folder) for folder, _ in found[:4])
    raise InputError(f"several runs are called '{text}': {told}; name one by its whole folder")


def run_in(study: Path, *, arm: str | None = None, seed: int | None = None) -> RecordedRun:
    """The run of an arm at a seed in the folder of a reproduction; the first seed, and the only arm, where none is said.

    Raises ``InputError`` where there is none, or where it is not clear which.
    """
    found = [
        RecordedRun(path.parent, read_record(path.parent))
        for path in sorted(study.glob("*/result.json"))
        if not path.parent.is_symlink()
    ]
    if not found:
        raise InputError(f"{study} is no folder of a run, nor of a reproduction; `kdrun runs` lists runs")
    arms = sorted({str(run.record.get("arm")) for run in found})
    if arm is None and len(arms) > 1:
        raise InputError(f"{study} has runs of several arms: add arm={_one_of(arms)}")
    wanted = arm if arm is not None else arms[0]
    of_arm = [run for run in found if str(run.record.get("arm")) == wanted]
    if not of_arm:
        raise InputError(f"{study} has no arm '{wanted}'{nearest(wanted, arms)}; it has: {', '.join(arms)}")
    seeds = sorted(run.record["seed"] for run in of_arm if isinstance(run.record.get("seed"), int))
    chosen = [run for run in of_arm if run.record.get("seed") == (seed if seed is not None else seeds[0])]
    if not chosen:
        raise InputError(f"{study} has no seed {seed} of arm '{wanted}'; it has: {', '.join(map(str, seeds))}")
    return chosen[0]


def _one_of(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', arm='.join(names[:-1])} or arm={names[-1]}"
