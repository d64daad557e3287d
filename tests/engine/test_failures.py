"""What survives a crash, a kill, a corrupt file, a full disk, a rival."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from kdrun.grammar.nodes import Ref
from support.recipes import QUICK
from support.runs import Listener, run


def test_a_corrupt_file_is_found_said_and_recomputed(session, tmp_path) -> None:
    ready = session("kd", *QUICK)
    before = ready.run().metrics
    folder = ready.store.place(ready.keys["fit_student"])
    weights = max(folder.glob("*.safetensors"), key=lambda p: p.stat().st_size)
    content = bytearray(weights.read_bytes())
    content[-5] ^= 1
    weights.write_bytes(content)
    ready.store.discard(ready.keys["test"])
    listener = run(session, *QUICK)
    assert listener.computed == ["fit_student", "test"]
    assert any("is corrupt (checksum" in text for text in listener.said)
    assert session("kd", *QUICK).run().metrics == before


def test_resuming_from_a_checkpoint_ends_with_the_same_bytes(session, tmp_path, interrupted) -> None:
    overrides = ("transfer=norm_direction", "epochs=2", "data.limit=320", "optimizer=adam")
    undisturbed = session("kd", *overrides)
    metrics = undisturbed.run().metrics
    expected = undisturbed.executor.value(Ref("fit_student")).state
    log = undisturbed.store.read(undisturbed.keys["fit_student"])["log"].rows
    broken = session("kd", *overrides, f"store={tmp_path / 'other'}", "checkpoint_seconds=0")
    broken.executor.result("fit_teacher")
    with interrupted(7):
        broken.run()
    again = session("kd", *overrides, f"store={tmp_path / 'other'}")
    again.executor.reporter = listener = Listener()
    assert again.run().metrics == metrics
    assert "fit_student: resumed at step 7" in listener.said
    for name, value in again.executor.value(Ref("fit_student")).state.items():
        assert torch.equal(value, expected[name]), name
    assert again.store.read(again.keys["fit_student"])["log"].rows == log


def test_two_processes_compute_a_stage_once(tmp_path) -> None:
    command = [
        sys.executable,
        "-m",
        "kdrun",
        "run",
        "kd",
        f"store={tmp_path / 'store'}",
        f"runs={tmp_path / 'runs'}",
        *QUICK,
    ]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [p.communicate(timeout=120)[0] for p in both]
    counts = [int(text.rsplit("stages computed: ", 1)[1].split(",")[0]) for text in said]
    assert sum(counts) == 5
    assert [line for line in said[0].splitlines() if "accuracy" in line] == [
        line for line in said[1].splitlines() if "accuracy" in line
    ]


def table(text: str) -> str:
    return text.split("\nreport:")[0]


@pytest.mark.slow
def test_killed_at_random_moments_the_rerun_gives_the_same_table(tmp_path) -> None:
    """Kill -9 of the whole process group, again and again; then the same bytes as an undisturbed run."""
    common = ["scale=smoke", "seeds=2", f"runs={tmp_path / 'runs'}", "checkpoint_seconds=0", "epochs=3"]

    def command(store: str) -> list[str]:
        return [sys.executable, "-m", "kdrun", "reproduce", "kd", *common, f"store={tmp_path / store}"]

    expected = table(subprocess.run(command("calm"), capture_output=True, text=True, check=True).stdout)
    chance = random.Random(0)
    for attempt in range(3):
        store = f"store{attempt}"
        for _ in range(3):
            process = subprocess.Popen(
                command(store), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
            )
            time.sleep(chance.uniform(1.5, 9.0))
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        assert table(subprocess.run(command(store), capture_output=True, text=True, check=True).stdout) == expected


def test_a_full_disk_is_one_clear_line_and_leaves_nothing(session, tmp_path, monkeypatch) -> None:
    import errno

    from kdrun.errors import StoreError
    from kdrun.runtime import files

    ready = session("kd", "transfer=none", *QUICK)
    ready.prepare()

    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "_sync", full)
    with pytest.raises(StoreError, match=r"is full: free some space \(kdrun gc\), or set store=FOLDER or KDRUN_STORE"):
        ready.run()
    assert list((tmp_path / "store" / "tmp").iterdir()) == []
    assert list((tmp_path / "store" / "objects").rglob("manifest.json")) == []
