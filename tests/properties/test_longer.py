"""The properties of this folder, searched further."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.slow
def test_no_property_breaks_in_a_longer_search() -> None:
    command = [sys.executable, "-m", "pytest", str(HERE), "--hypothesis-profile=more", "-x", "-p", "no:cacheprovider"]
    ended = subprocess.run(command, cwd=HERE.parents[1], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout[-20_000:]
