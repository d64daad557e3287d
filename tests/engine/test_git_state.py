"""What git knows is recorded, while the working folder's own settings start no program."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from kdrun.engine.git_state import git_state


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit, in which the process stands."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("a\n")
    _git("init", "--quiet")
    _git("add", "a.txt")
    _git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "a")
    return tmp_path


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout.strip()


def test_commit_and_changes_are_told(repository: Path) -> None:
    assert git_state() == {"commit": _git("rev-parse", "HEAD"), "changed": False}
    (repository / "a.txt").write_text("b\n")
    assert git_state() == {"commit": _git("rev-parse", "HEAD"), "changed": True}


def test_a_worktree_of_a_repository_is_told_of(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _git("worktree", "add", "--quiet", str(tmp_path / "other"))
    monkeypatch.chdir(tmp_path / "other")
    assert git_state() == {"commit": _git("rev-parse", "HEAD"), "changed": False}


def test_no_program_is_started_that_the_repository_names(repository: Path) -> None:
    touch = f"touch {repository / 'mark'}"
    _git("config", "core.fsmonitor", f"{touch}; false")
    _git("config", "filter.evil.clean", f"{touch}; cat")
    (repository / ".git" / "info" / "attributes").write_text("* filter=evil\n")
    (repository / "a.txt").write_text("c\n")
    assert git_state() == {"commit": _git("rev-parse", "HEAD"), "changed": True}
    assert not (repository / "mark").exists()


def test_no_repository_is_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert git_state() is None
