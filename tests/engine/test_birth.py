"""Where the worker processes of a sweep come from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

forked = pytest.mark.skipif(sys.platform != "linux" or sys.version_info < (3, 11), reason="workers are spawned here")

SCRIPT = """
import concurrent.futures, os, sys
from kdrun.engine.birth import worker_context
from kdrun.engine.pool import _begin

def told(name):
    return [name in sys.modules, getattr(sys.modules.get(name), "__file__", None), os.environ.get("SAID_LATER")]

if __name__ == "__main__":
    context = worker_context()
    os.environ["SAID_LATER"] = "yes"
    with concurrent.futures.ProcessPoolExecutor(1, context, _begin, (context.Queue(), dict(os.environ))) as pool:
        print(*pool.submit(told, sys.argv[1]).result())
    print(os.environ.get("PYTHONPATH"), os.environ.get("PYTHONSAFEPATH"))
"""


def said(script: Path, module: str, folder: Path) -> list[list[str]]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    command = [sys.executable, str(script), module]
    found = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert found.returncode == 0, found.stderr
    return [line.split() for line in found.stdout.splitlines()]


@forked
def test_a_worker_begins_with_torch_read_and_the_environment_of_now(tmp_path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    import torch

    (there, file, later), environment = said(script, "torch", tmp_path)
    assert (there, file, later) == ("True", torch.__file__, "yes")
    assert environment == [str(Path(__file__).parents[2]), "None"]  # as it was


@forked
def test_modules_of_the_working_folder_stay_unread(tmp_path) -> None:
    """They are no part of the program, and a folder that a stranger made may hold anything."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "stranger").mkdir()
    script = tmp_path / "scripts" / "script.py"
    script.write_text(SCRIPT)
    for name in ("torch", "kdrun"):
        (tmp_path / "stranger" / f"{name}.py").write_text("import pathlib; pathlib.Path('read').touch()")
    (there, file, *_), _ = said(script, "kdrun", tmp_path / "stranger")
    assert there == "True"
    assert file == str(Path(__file__).parents[2] / "kdrun" / "__init__.py")
    assert not (tmp_path / "stranger" / "read").exists()
