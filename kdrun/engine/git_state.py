"""What git knows of the working folder, for the records of a run, while nothing of that folder's own settings is followed.

A folder may have come from anybody, with its ``.git``, whose settings can name programs (a watcher of files, filters) that git starts.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

__all__ = ["git_state"]

SETTINGS = "[core]\n\trepositoryformatversion = 0\n\tbare = false\n"


def git_state() -> dict[str, Any] | None:
    """The commit, and whether files differ from it; nothing where there is no repository, or no git."""
    try:
        top, own, common = (Path(line) for line in _git("--show-toplevel", "--absolute-git-dir", "--git-common-dir"))
        (commit,) = _git("HEAD")
        return {"commit": commit, "changed": _changed(top, own, common.resolve(), commit)}
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def _git(*asked: str) -> list[str]:
    return _said(["git", "rev-parse", *asked], dict(os.environ)).splitlines()


def _said(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True, env=environment)
    return done.stdout.strip()


def _changed(top: Path, own: Path, common: Path, commit: str) -> bool:
    """Ask git through a folder of settings of our own, with the repository's objects and a copy of its index."""
    with tempfile.TemporaryDirectory() as made:
        for name in ("objects", "refs"):
            (Path(made) / name).mkdir()
        (Path(made) / "config").write_text(SETTINGS)
        (Path(made) / "HEAD").write_text(f"{commit}\n")
        shutil.copy2(own / "index", Path(made) / "index")  # with its time, by which git knows what to look at anew
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
            "GIT_DIR": made,
            "GIT_WORK_TREE": str(top),
            "GIT_OBJECT_DIRECTORY": str(common / "objects"),
        }
        return bool(_said(["git", "status", "--porcelain", "--ignore-submodules=all"], environment))
