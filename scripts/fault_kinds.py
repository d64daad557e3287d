"""The faults that ``faults.py`` brings about. Each function disturbs a trial and says what it did."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fault_damage import damage, damage_records
from fault_disks import full_disk, read_only
from fault_sweep import SETTINGS, Ended, Process
from fault_trial import Misbehaved, Trial, wait_for

from kdrun.engine import garbage
from kdrun.runtime import files

__all__ = ["KINDS"]

DAY = 86400.0


def _killed(which: int) -> Callable[[Trial], str]:
    def fault(trial: Trial) -> str:
        if trial.number % 12 == 11:
            return _command_killed(trial, which)
        told = [trial.begin("", "", "", "half")]
        told += [_struck(trial, which) for _ in range(trial.chance.choice([1, 1, 2]))]
        return ", ".join(told)

    return fault


def _struck(trial: Trial, which: int) -> str:
    """Send the signal at some moment of the work; a sweep that has ended before is begun anew, and struck sooner."""
    within = trial.seconds
    while True:
        process, started = trial.start(), time.monotonic()
        moment = trial.chance.uniform(0.1, within * 0.95)
        while time.monotonic() - started < moment and not process.ended():
            time.sleep(0.01)
        late = process.ended()
        process.signal(which)
        ended = trial.close(process, -which, 0, 130)
        if not late:
            return f"after {moment:.2f} s, ended with {ended.code}"
        within = min(within, time.monotonic() - started)
        shutil.rmtree(trial.place)
        trial.begin("")


def _command_killed(trial: Trial, which: int) -> str:
    """The command itself, with worker processes, which have to end with it."""
    trial.begin("")
    process = _command(trial, "reproduce", "--jobs", "2")
    moment = trial.chance.uniform(8.0, 8.0 + 3 * trial.seconds)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(moment)
    process.send_signal(which)
    said = process.communicate()[0]
    trial.ended.append(Ended(process.returncode, said))
    if "Traceback" in said or process.returncode not in (0, 130, -which):
        raise Misbehaved(f"the command ended with {process.returncode}: {said[-1500:]}")
    wait_for(lambda: not _group_of(process.pid), "processes of the sweep are left")
    return f"the command after {moment:.1f} s, ended with {process.returncode}"


def _command(trial: Trial, *words: str) -> subprocess.Popen[str]:
    shutil.copytree(trial.sweep.home / "recipes", trial.place / "recipes", dirs_exist_ok=True)
    line = [sys.executable, "-m", "kdrun", words[0], "trial", *words[1:], *SETTINGS]
    return subprocess.Popen(
        line, cwd=trial.place, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )


def _group_of(session: int) -> list[int]:
    """The living processes of a session, but for its first."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, of = path.read_text().rpartition(")")[2].split()[:4]
            if int(of) == session and state != "Z" and int(path.parent.name) != session:
                found.append(int(path.parent.name))
    return found


def _together(count: int) -> Callable[[Trial], str]:
    def fault(trial: Trial) -> str:
        told, victim = trial.begin("", "half", "cut"), trial.chance.random() < 0.4
        processes = []
        for _ in range(count):
            processes.append(trial.start())
            time.sleep(trial.chance.uniform(0, 0.3))
        if victim:
            time.sleep(trial.chance.uniform(0, trial.seconds))
            processes[0].signal(signal.SIGKILL)
        for process in processes:  # all of them, before one is found to have misbehaved
            process.wait()
        for i, process in enumerate(processes):
            trial.close(process, 0, *([-signal.SIGKILL] if victim and not i else []))
        return f"{told}, {count} at once{', the first one killed' if victim else ''}"

    return fault


def dead_holder(trial: Trial) -> str:
    """A process that holds a stage's lock stops, and dies while the sweep waits for it."""
    told, key = trial.begin("", "half"), trial.chance.choice(sorted(trial.sweep.keys()))
    held = trial.place / "held"

    def hold() -> None:
        with trial.sweep.store.lock(key):
            held.touch()
            time.sleep(600)

    log = trial.folder / "holder.log"
    log.touch()
    holder = Process(trial.place, log, hold)
    wait_for(held.exists, "the lock cannot be taken")
    holder.signal(signal.SIGSTOP)
    process = trial.start()
    time.sleep(trial.chance.uniform(0.5, trial.seconds * 1.5))
    holder.signal(signal.SIGKILL)
    holder.wait()
    waited = "waiting" in trial.close(process, 0).said
    return f"{told}, of {trial.sweep.keys()[key]}; {'waited' if waited else 'it was not needed'}"


def moved_clock(trial: Trial) -> str:
    """Files from the future or the past, a process whose clock is wrong, or two that differ."""
    way, shift = trial.number % 3, trial.chance.choice([-1, 1]) * trial.chance.choice([0.1, 2, 400, 7000]) * DAY
    told = trial.begin("cut")
    if way == 0:
        for path in (trial.place / "store").rglob("*"):
            stamp = path.lstat().st_mtime + shift
            os.utime(path, (stamp, stamp), follow_symlinks=False)
        return f"{told}, files moved by {shift / DAY:g} days"
    others = [trial.start()] if way == 2 else []
    process = trial.start(lambda: _move_clock(shift))
    for one in (process, *others):
        one.wait()
    for one in (process, *others):
        trial.close(one, 0, 1, 2)
    return f"{told}, a clock moved by {shift / DAY:g} days{', another process with the right one' if others else ''}"


def _move_clock(shift: float) -> None:
    """Shift what this process takes for the time, by the file system's clock and by its own."""
    by_files, own = files.clock, time.time
    garbage.clock = files.clock = lambda folder: by_files(folder) + shift
    time.time = lambda: own() + shift


def lost_worker(trial: Trial) -> str:
    """One of two processes that train together is killed: the other one ends, and the same command goes on."""
    trial.begin("")
    process = _command(trial, "run", "arm=kd", "hardware.processes=2", "epochs=10")
    wait_for(
        lambda: process.poll() is not None or (trial.place / "store" / "checkpoints").is_dir(), "no checkpoint", 240
    )
    time.sleep(trial.chance.uniform(0, 2))
    workers = _group_of(process.pid)
    for worker in workers[:1]:
        os.kill(worker, signal.SIGKILL)
    said = process.communicate(timeout=120)[0]
    trial.ended.append(Ended(process.returncode, said))
    if workers and (process.returncode != 1 or "a process of the group ended" not in said or "Traceback" in said):
        raise Misbehaved(f"the group ended with {process.returncode}: {said[-1500:]}")
    rerun = _command(trial, "run", "arm=kd", "hardware.processes=2", "epochs=10")
    said = rerun.communicate(timeout=300)[0]
    if rerun.returncode != 0:
        raise Misbehaved(f"the rerun ended with {rerun.returncode}: {said[-1500:]}")
    _same_as_reference(trial)
    return f"{'the worker killed' if workers else 'it had ended'}, ended with {process.returncode}"


def _same_as_reference(trial: Trial) -> None:
    """Compare with the same run undisturbed, which is made once."""
    found = {str(p.relative_to(trial.place)): p.read_bytes().hex() for p in _results(trial.place)}
    kept = trial.bases / "group.json"
    if not kept.exists():
        shutil.rmtree(trial.place / "store")
        calm = _command(trial, "run", "arm=kd", "hardware.processes=2", "epochs=10")
        if (said := calm.communicate(timeout=300)[0]) and calm.returncode != 0:
            raise Misbehaved(f"an undisturbed group ended with {calm.returncode}: {said[-1500:]}")
        kept.write_text(
            json.dumps({str(p.relative_to(trial.place)): p.read_bytes().hex() for p in _results(trial.place)})
        )
    if found != json.loads(kept.read_text()):
        raise Misbehaved("the group's results differ from those of an undisturbed run")


def _results(place: Path) -> list[Path]:
    return sorted(path for path in (place / "store" / "objects").rglob("*") if path.is_file())


@dataclass(frozen=True)
class Kind:
    """A kind of fault, and how many of it the campaign has. ``judged``: by a rerun of the sweep, not by a run of its own."""

    count: int
    cause: Callable[[Trial], str]
    judged: bool = True


KINDS = {
    "sigkill": Kind(25, _killed(signal.SIGKILL)),
    "sigterm": Kind(25, _killed(signal.SIGTERM)),
    "sigint": Kind(25, _killed(signal.SIGINT)),
    "damage": Kind(60, damage),
    "records": Kind(8, damage_records),
    "full_disk": Kind(12, full_disk),
    "read_only": Kind(8, read_only),
    "two_processes": Kind(10, _together(2)),
    "eight_processes": Kind(10, _together(8)),
    "dead_holder": Kind(5, dead_holder),
    "moved_clock": Kind(8, moved_clock),
    "lost_worker": Kind(4, lost_worker, judged=False),
}
