"""A disk that refuses at any write, rivals for one stage, and a process that dies with the lock."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from kdrun.engine.store import Store
from kdrun.errors import StoreError
from kdrun.runtime.artifacts import Model, Table, Value
from kdrun.runtime.checkpoints import Checkpoints
from support.recipes import QUICK

KEY = "ab" * 20
RESULT = {
    "": Model({"model": "mlp"}, {"w": torch.arange(3.0)}),
    "log": Table([{"epoch": 1, "loss": 0.5}]),
    "best": Value(3),
}


class Disk:
    """Counts what is written, and refuses from the n-th write on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import pyarrow.parquet
        import safetensors.torch

        self.writes, self.refuses, self.error = 0, sys.maxsize, errno.ENOSPC
        for owner, name in (
            (os, "fsync"),
            (os, "rename"),
            (os, "replace"),
            (Path, "mkdir"),
            (Path, "write_bytes"),
            (Path, "write_text"),
            (safetensors.torch, "save_file"),
            (pyarrow.parquet, "write_table"),
        ):
            monkeypatch.setattr(owner, name, self._counted(getattr(owner, name)))

    def _counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self.writes += 1
            if self.writes > self.refuses:
                raise OSError(self.error, os.strerror(self.error))
            return function(*arguments, **options)

        return call


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


@pytest.mark.parametrize(("error", "says"), [(errno.ENOSPC, "is full: free some space"), (errno.EROFS, "cannot be written"), (errno.EIO, "cannot be used")])  # fmt: skip
def test_a_disk_that_refuses_at_any_write_leaves_nothing_or_a_whole_result(tmp_path, monkeypatch, error, says) -> None:
    Store(tmp_path / "calm").write(KEY, RESULT, {})
    expected = contents(Store(tmp_path / "calm").place(KEY))
    disk = Disk(monkeypatch)
    disk.error = error
    Store(tmp_path / "counted").write(KEY, RESULT, {})
    total = disk.writes
    for refused in range(total):
        store = Store(tmp_path / f"store{refused}")
        disk.writes, disk.refuses = 0, refused
        with pytest.raises(StoreError, match=says):
            store.write(KEY, RESULT, {})
        disk.refuses = sys.maxsize
        assert not (store.root / "tmp").is_dir() or not list((store.root / "tmp").iterdir())
        store.write(KEY, RESULT, {})
        assert contents(store.place(KEY)) == expected
    assert total > 8


def test_a_checkpoint_that_the_disk_refuses_leaves_the_one_before(tmp_path, monkeypatch) -> None:
    tensors = {"w": torch.arange(3.0)}
    disk = Disk(monkeypatch)
    Checkpoints(tmp_path, KEY).save(1, tensors, {"rows": []})
    for refused in range(disk.writes):
        disk.writes, disk.refuses = 0, refused
        with pytest.raises(StoreError, match="is full"):
            Checkpoints(tmp_path, KEY).save(2, tensors, {"rows": [refused]})
        disk.refuses = sys.maxsize
        step, _, meta = Checkpoints(tmp_path, KEY).latest()
        assert step == 1 or meta["rows"] == [refused]
        (tmp_path / KEY / f"{2:012d}").is_dir() and Checkpoints(tmp_path, KEY).clear()
        Checkpoints(tmp_path, KEY).save(1, tensors, {"rows": []})


def test_a_finished_run_is_read_from_a_store_that_cannot_be_written(session, monkeypatch) -> None:
    metrics = session("kd", *QUICK).run().metrics
    disk = Disk(monkeypatch)
    disk.refuses, disk.error = 0, errno.EROFS
    monkeypatch.setattr(os, "utime", os.fsync)
    assert session("kd", *QUICK).run().metrics == metrics
    with pytest.raises(StoreError, match="cannot be written"):
        session("kd", *QUICK, "optimizer.lr=0.5").run()


HOLDER = """
import sys, time
from kdrun.engine.store import Store
store = Store(sys.argv[1])
with store.lock(sys.argv[2]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_lock_of_a_process_that_is_killed_is_free(tmp_path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path), KEY], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    waits: list[float] = []

    def on_wait(seconds: float) -> None:
        waits.append(seconds)
        holder.send_signal(signal.SIGKILL)

    with Store(tmp_path).lock(KEY, on_wait=on_wait):
        assert waits
    holder.wait()


@pytest.mark.slow
def test_processes_that_find_the_same_damage_compute_it_once(tmp_path) -> None:
    command = [sys.executable, "-m", "kdrun", "run", "kd", f"store={tmp_path / 'store'}", f"runs={tmp_path / 'runs'}"]
    subprocess.run([*command, *QUICK], check=True, capture_output=True)
    store = Store(tmp_path / "store")
    keys = {entry.description["node"]: entry.key for entry in store.entries()}
    folder = store.place(keys["fit_student"])
    before = contents(folder)
    (folder / "manifest.json").write_bytes(b"")
    store.discard(keys["test"])
    both = [subprocess.Popen([*command, *QUICK], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=300)[0] for process in both]
    assert sum(int(text.rsplit("stages computed: ", 1)[1].split(",")[0]) for text in said) == 2
    assert contents(folder) == before
