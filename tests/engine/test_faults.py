"""A few faults of every kind that ``scripts/faults.py`` has: after each, a rerun ends with the bytes of an undisturbed sweep."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "faults.py"
KINDS = ["sigkill", "sigterm", "sigint", "damage", "records", "two_processes", "dead_holder", "moved_clock"]


@pytest.mark.slow
def test_a_sweep_that_was_disturbed_ends_with_the_same_bytes(tmp_path) -> None:
    disks = ["full_disk", "read_only"] if os.geteuid() == 0 and sys.platform == "linux" else []
    only = [word for kind in [*KINDS, *disks] for word in ("--only", kind)]
    command = [sys.executable, str(SCRIPT), *only, "--count", "1", "--output", str(tmp_path / "faults")]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
