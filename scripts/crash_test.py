"""Kill -9 a reproduction at random moments, run it again, and compare its table byte for byte.

python scripts/crash_test.py --attempts 20
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--attempts", type=int, default=20)
    parser.add_argument("--kills", type=int, default=2, help="kills before the run that is let alone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("recipe", nargs="?", default="kd")
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:

        def command(store: str) -> list[str]:
            return [
                *(sys.executable, "-m", "kdrun", "reproduce", options.recipe, *options.overrides),
                *(f"store={folder}/{store}", f"runs={folder}/runs", "checkpoint_seconds=0.5"),
            ]

        started = time.monotonic()
        expected = subprocess.run(command("calm"), capture_output=True, check=True).stdout
        length = time.monotonic() - started
        same = 0
        for attempt in range(options.attempts):
            moments = []
            for _ in range(options.kills):
                process = subprocess.Popen(
                    command(f"store{attempt}"),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
                moments.append(chance.uniform(1.0, length))
                time.sleep(moments[-1])
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            found = subprocess.run(command(f"store{attempt}"), capture_output=True, check=True).stdout
            same += found == expected
            killed = ", ".join(f"{m:.1f}" for m in moments)
            print(f"{attempt + 1}: killed at {killed} s: {'same' if found == expected else 'DIFFERENT'}", flush=True)
        print(f"{same} of {options.attempts} the same, byte for byte")
    sys.exit(same != options.attempts)


if __name__ == "__main__":
    main()
