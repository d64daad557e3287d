"""How long the light commands take, as whole processes: median of several runs after one to warm up.

python scripts/benchmark_cli.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

COMMANDS = [
    ["--help"],
    ["list"],
    ["list", "parts"],
    ["check", "kd"],
    ["show", "kd"],
    ["plan", "kd"],
    ["plan", "kd", "scale=paper"],
]


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    for arguments in COMMANDS:
        command = [sys.executable, "-m", "kdrun", *arguments]
        seconds(command)
        times = sorted(seconds(command) for _ in range(5))
        print(
            f"kdrun {' '.join(arguments):<24} {statistics.median(times):.2f} s (from {times[0]:.2f} to {times[-1]:.2f})"
        )


if __name__ == "__main__":
    main()
