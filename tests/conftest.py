"""What the tests share: the program called in-process, in an empty folder with its own store."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from kdrun.data.dataset import MemoryDataset

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a model that is not there is missed at once, not after retries


@dataclass(frozen=True)
class Answer:
    """What a command said and its exit code."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _same_numbers_every_time() -> None:
    """Tests that draw without a generator of their own see the same numbers in every run and order."""
    if "torch" in sys.modules:
        import torch

        torch.manual_seed(0)


@pytest.fixture(scope="session")
def tagged_domains() -> dict[str, MemoryDataset]:
    """Tagged text of two domains, of the sizes ``support.tagging.TOY``."""
    from kdrun.data.tagging import ToyTwoDomainNer
    from support.tagging import TOY

    return ToyTwoDomainNer(**TOY, seed=1).load()


@pytest.fixture
def kdrun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Call ``kdrun`` with these arguments, in a folder of its own."""
    from kdrun.cli import main
    from kdrun.runtime import spinner

    monkeypatch.setattr(spinner, "PATIENCE", 3600)  # what is said depends on no clock
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KDRUN_STORE", str(tmp_path / "store"))

    def call(*arguments: str) -> Answer:
        capsys.readouterr()
        for logger in logging.root.manager.loggerDict.values():  # Hydra silences those that it finds, once a command
            if isinstance(logger, logging.Logger):
                logger.disabled = False
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        said = capsys.readouterr()
        return Answer(int(ended.value.code or 0), said.out, said.err)

    return call


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., object]:
    """Make a session of a recipe with overrides, on a store of its own."""
    from kdrun.config.compose import Composer
    from kdrun.engine.session import Session

    monkeypatch.chdir(tmp_path)

    def make(recipe: str, *overrides: str, arm: str | None = None) -> Session:
        return Session(Composer.named(recipe, [f"store={tmp_path / 'store'}", *overrides]).compose(arm=arm))

    return make


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], contextlib.AbstractContextManager[None]]:
    """What runs inside ``with interrupted(n):`` is cut off, as by Ctrl-C, once ``n`` checkpoints are saved."""
    from kdrun.runtime.checkpoints import Checkpoints

    @contextlib.contextmanager
    def after(count: int) -> Iterator[None]:
        save, saved = Checkpoints.save, []

        def stop(self: Checkpoints, step: int, tensors: object, meta: object) -> None:
            save(self, step, tensors, meta)
            saved.append(step)
            if len(saved) == count:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(Checkpoints, "save", stop)
            with pytest.raises(KeyboardInterrupt):
                yield

    return after
