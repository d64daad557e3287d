"""Training by several processes: the same weights as by one, to rounding, whatever the losses compare."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from kdrun.errors import Diverged
from kdrun.grammar.nodes import Ref
from kdrun.runtime import processes
from support.recipes import BILEVEL, TINY_STUDENT, write_recipe

SHORT = ("epochs=2", "teacher_epochs=1", "data.limit=200", "batch_size=63")


@pytest.fixture(scope="module", autouse=True)
def _nobody_left_behind() -> Iterator[None]:
    yield
    if processes._group is not None:
        processes._group.close()


def weights(session, recipe: str, *overrides: str, role: str = "student", processes: int = 2) -> dict[str, Tensor]:
    ready = session(recipe, f"hardware.processes={processes}", *overrides)
    ready.run()
    return ready.executor.value(Ref("fit_student", (role,))).state


def assert_same(ones: dict[str, Tensor], others: dict[str, Tensor], **tolerance: float) -> None:
    assert ones.keys() == others.keys()
    for name, value in ones.items():
        torch.testing.assert_close(others[name], value, **tolerance, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize(
    "method",
    [
        "attention",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("relational", "contrastive", "hint_joint")),
    ],
)
def test_two_processes_end_as_one_does(session, method) -> None:
    """Taps, relations between rows, memories of all rows, adapters, batch statistics, batches that two do not divide."""
    alone = weights(session, "kd", f"transfer={method}", *SHORT, processes=1)
    together = weights(session, "kd", f"transfer={method}", *SHORT)
    assert_same(alone, together, rtol=1e-3, atol=1e-5)
    assert any(not torch.equal(together[name], value) for name, value in alone.items())


def test_gradients_through_virtual_steps_are_those_of_the_whole_batch(session, tmp_path) -> None:
    recipe = write_recipe(tmp_path, BILEVEL.replace("    steps: 1\n", "    steps: 4\n"), TINY_STUDENT)
    alone, together = (weights(session, recipe, role="ratio", processes=n) for n in (1, 2))
    assert_same(alone, together, rtol=1e-4, atol=1e-6)


def test_what_is_decoded_from_files_is_divided_and_put_together(session, tmp_path) -> None:
    import numpy as np
    from PIL import Image

    chance = np.random.default_rng(0)
    for split, count in (("train", 9), ("valid", 2), ("test", 2)):
        for label in ("a", "b"):
            (tmp_path / "images" / split / label).mkdir(parents=True)
            for i in range(count):
                pixels = chance.integers(0, 255, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "images" / split / label / f"{i}.png")
    images = ("data=folder", f"data.root={tmp_path / 'images'}", "data.size=8", "epochs=2", "batch_size=17")
    alone, together = (weights(session, "kd", "transfer=none", *images, processes=n) for n in (1, 2))
    assert_same(alone, together, rtol=1e-3, atol=1e-5)


def test_dropout_draws_other_numbers_in_each_process(session) -> None:
    """Equal masks for both shares would leave the mean over processes as noisy as one share."""
    from kdrun.runtime.sharding import Shards

    drawn = []
    for rank in range(2):
        Shards(rank, 2).reseed(7)
        drawn.append(torch.rand(4))
    assert not torch.equal(*drawn)


def test_a_loss_that_diverges_is_told_once_and_the_group_goes_on(session) -> None:
    with pytest.raises(Diverged, match="the loss became"):
        weights(session, "kd", *SHORT, "optimizer.lr=1e30")
    assert weights(session, "kd", *SHORT)


@pytest.mark.slow
def test_an_interrupted_group_resumes_with_the_same_bytes(session, tmp_path, interrupted) -> None:
    expected = weights(session, "kd", *SHORT)
    elsewhere = (*SHORT, f"store={tmp_path / 'other'}")
    with interrupted(5):
        weights(session, "kd", *elsewhere, "checkpoint_seconds=0")
    assert_same(expected, weights(session, "kd", *elsewhere), rtol=0, atol=0)


def command(tmp_path, *overrides: str) -> list[str]:
    return ["-m", "kdrun", "run", "kd", f"store={tmp_path / 'store'}", f"runs={tmp_path / 'runs'}", *overrides]


@pytest.mark.slow
def test_torchrun_starts_the_processes_too(tmp_path) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    ran = subprocess.run(
        [*launcher, *command(tmp_path, *SHORT, "hardware.processes=2")], capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("\ntest.accuracy") == 1


@pytest.mark.slow
def test_a_process_that_dies_takes_the_others_with_it(tmp_path) -> None:
    arguments = command(tmp_path, "hardware.processes=2", "epochs=100000", "teacher_epochs=1")
    process = subprocess.Popen([sys.executable, *arguments], stderr=subprocess.PIPE, text=True)
    helper = None
    try:
        for _ in range(600):
            time.sleep(0.2)
            children = subprocess.run(
                ["ps", "-o", "pid=,args=", "--ppid", str(process.pid)], capture_output=True, text=True
            )
            helper = next((line.split()[0] for line in children.stdout.splitlines() if "engine.worker" in line), None)
            if helper is not None and list((tmp_path / "store" / "objects").rglob("manifest.json")):
                break
        assert helper is not None
        os.kill(int(helper), signal.SIGKILL)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 1
    assert "a process of the group ended" in said
