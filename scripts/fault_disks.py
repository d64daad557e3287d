"""Disks that are full or cannot be written, by file systems in memory; those need the rights of root."""

from __future__ import annotations

import contextlib
import resource
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from fault_sweep import copied
from fault_trial import Misbehaved, Trial, wait_for

__all__ = ["full_disk", "read_only"]


def full_disk(trial: Trial) -> str:
    """A file system without room, or without room for more files, or a limit on the size of files."""
    way = ("bytes", "bytes", "files", "limit")[trial.number % 4]
    if way == "limit":
        told, size = trial.begin("", "half"), trial.chance.choice([0, 1, 4, 16, 64]) * 1024
        trial.close(trial.start(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))), 0, 1, 2)
        return f"{told}, files of {size} bytes at most"
    option = (
        f"size={trial.chance.randrange(40, 2000)}k" if way == "bytes" else f"nr_inodes={trial.chance.randrange(8, 400)}"
    )
    with _mounted(trial.place, option) as remount:
        trial.begin("")
        ended = trial.close(trial.start(), 0, 1, 2)
        if ended.code and "full" not in ended.said and "No space left" not in ended.said:
            raise Misbehaved(f"it does not say that the disk is full: {ended.said[-1000:]}")
        remount("size=256m,nr_inodes=100000")
        _moved_out(trial)
    return f"{option}, ended with {ended.code}"


def read_only(trial: Trial) -> str:
    """A file system that can no longer be written, from the start or from some moment on."""
    with _mounted(trial.place, "size=256m") as remount:
        told, moment = (
            trial.begin("half", "cut"),
            trial.chance.choice([0.0, trial.chance.uniform(0.2, trial.seconds / 2)]),
        )
        if not moment:
            remount("ro")
        process = trial.start()
        if moment:
            time.sleep(moment)
            wait_for(lambda: process.ended() or remount("ro", check=False), "it cannot be mounted read-only")
        ended = trial.close(process, 0, 1, 2)
        remount("rw")
        _moved_out(trial)
    return f"{told}, read-only after {moment:.2f} s, ended with {ended.code}"


@contextlib.contextmanager
def _mounted(place: Path, option: str) -> Iterator[Callable[..., bool]]:
    """A file system in memory at ``place``; gives what changes its options. Needs the rights of root."""
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", option, "kdrun-faults", str(place)], check=True)

    def remount(option: str, *, check: bool = True) -> bool:
        line = ["mount", "-o", f"remount,{option}", str(place)]
        return subprocess.run(line, check=check, capture_output=True).returncode == 0

    try:
        yield remount
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def _moved_out(trial: Trial) -> None:
    """Take what is on the mounted file system along, for the rerun in the same folder below it."""
    kept = trial.folder / "kept"
    kept.mkdir()
    copied(trial.place, kept)
