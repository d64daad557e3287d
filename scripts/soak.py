"""Sweeps for an hour in one process, at ever new seeds, with records and page: what the process holds does not grow.

python scripts/soak.py --minutes 60 --every 60
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import kdrun

RECIPE = """# @package _global_
# students of one teacher, as small as can be
defaults:
  - override /protocol: distillation
  - override /transfer: distillation/kd
  - override /teacher: mlp_wide
  - override /student: mlp_tiny
  - override /data: digits
epochs: 2
data: {limit: 256}
graph:
  fit_teacher: {seed: 0}
arms:
  kd: {}
  scratch: {transfer: none}
claims:
  listens: {test: kd.test.accuracy > scratch.test.accuracy, says: a soft answer helps}
"""

SEEDS = 2
"""Seeds of one sweep, of two arms each."""

COLUMNS = ("minutes", "sweeps", "runs", "memory MiB", "objects", "descriptors", "threads", "temporary")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--every", type=float, default=60.0, help="seconds between two lines")
    parser.add_argument("--warm-up", type=float, default=10.0, help="minutes before growth counts")
    parser.add_argument("--growth", type=float, default=10.0, help="MiB more than after warming up that are too many")
    options = parser.parse_args()
    if not Path("/proc/self/statm").is_file():
        sys.exit("what a process holds is read from /proc, which is not there")
    print("".join(f"{name:>12}" for name in COLUMNS), flush=True)
    with _own_folder() as folder:
        lines = list(soak(folder, options.minutes * 60, options.every))
    sys.exit(verdict(lines, options.warm_up, options.growth))


def soak(folder: Path, seconds: float, every: float) -> Iterator[dict[str, float]]:
    """Sweep until the time is over; print and yield a line of what the process holds every so many seconds."""
    started, due, sweeps = time.monotonic(), every, 0
    while True:
        seeds = list(range(SEEDS * sweeps, SEEDS * (sweeps + 1)))
        found = kdrun.reproduce("soak", seeds=seeds, store=folder / "store", runs=folder / "runs")
        found.run("kd", seeds[0]).model("fit_student")
        del found
        sweeps += 1
        passed = time.monotonic() - started
        if passed >= due or passed >= seconds:
            line = dict(zip(COLUMNS, (passed / 60, sweeps, 2 * SEEDS * sweeps, *held()), strict=True))
            print("".join(f"{value:>12.1f}" if value % 1 else f"{value:>12.0f}" for value in line.values()), flush=True)
            yield line
            due = passed + every
        if passed >= seconds:
            return


def held() -> tuple[float, int, int, int, int]:
    """Resident memory (MiB), objects that Python tracks, open descriptors, threads, and temporary files of this process."""
    gc.collect()
    memory = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    folders = ("/proc/self/fd", "/proc/self/task", tempfile.gettempdir())
    descriptors, threads, temporary = (len(os.listdir(folder)) for folder in folders)
    return memory, len(gc.get_objects()), descriptors, threads, temporary


def verdict(lines: list[dict[str, float]], warm_up: float, growth: float) -> int:
    """Compare the last line with the first after warming up; say what grew. Returns the exit code."""
    base = next((line for line in lines if line["minutes"] >= warm_up), lines[-1])
    grown = {name: lines[-1][name] - base[name] for name in COLUMNS[3:]}
    said = ", ".join(f"{name} {more:+.1f}" for name, more in grown.items())
    flat = grown["memory MiB"] <= growth and max(grown["descriptors"], grown["threads"], grown["temporary"]) <= 0
    print(f"{'flat' if flat else 'it grows'}: since minute {base['minutes']:.0f}: {said}")
    return 0 if flat else 1


@contextlib.contextmanager
def _own_folder() -> Iterator[Path]:
    """A folder to work in, with the recipe; temporary files of the process are made inside it, too."""
    with tempfile.TemporaryDirectory(prefix="kdrun-soak-") as name:
        folder = Path(name)
        for part in ("recipes", "temporary"):
            (folder / part).mkdir()
        (folder / "recipes" / "soak.yaml").write_text(RECIPE)
        tempfile.tempdir = str(folder / "temporary")
        before = os.getcwd()
        os.chdir(folder)
        try:
            yield folder
        finally:
            os.chdir(before)
            tempfile.tempdir = None


if __name__ == "__main__":
    main()
