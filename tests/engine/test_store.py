"""The store: round trips of every kind of result, damage, interrupted writes."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from kdrun.engine.store import Store
from kdrun.errors import CorruptArtifact, StoreError
from kdrun.runtime.artifacts import Data, Model, Table, Tensors, Value
from support.recipes import QUICK

KEY = "ab" * 20

TIED = torch.arange(4.0)

RESULT = {
    "model": Model({"model": "mlp", "hidden": [3]}, {"a": TIED, "b": TIED, "n": torch.tensor(3)}),
    "fresh": Model({"model": "mlp"}, None),
    "": Tensors(
        {
            "": torch.randn(3, 4).T,
            "flags": torch.tensor([True, False]),
            "half": torch.ones(2, dtype=torch.bfloat16),
            "none": torch.empty(0, 3),
        }
    ),
    "log": Table(
        [{"epoch": 1, "loss": 0.1 + 0.2, "note": "x", "ok": True, "gap": None}, {"epoch": 2, "loss": math.pi}]
    ),
    "rows": Data({"data": "digits"}, "train", torch.tensor([3, 1]), {"label": torch.tensor([0, 1])}, 2),
    "best": Value({"depth": 3, "widths": [1, 2]}),
}


@pytest.fixture
def store(tmp_path) -> Store:
    ready = Store(tmp_path)
    ready.prepare()
    ready.write(KEY, RESULT, {"node": "n"})
    return ready


def test_everything_comes_back_exactly(store) -> None:
    found = store.read(KEY)
    assert torch.equal(found["model"].state["b"], TIED)
    assert found["fresh"].state is None
    for name, value in RESULT[""].values.items():
        assert torch.equal(found[""].values[name], value)
        assert found[""].values[name].dtype == value.dtype
    assert found["log"].rows[0] == RESULT["log"].rows[0]
    assert found["log"].rows[1]["loss"] == math.pi
    assert found["rows"].source == {"data": "digits"}
    assert found["rows"].indices.tolist() == [3, 1]
    assert found["best"].value["widths"] == [1, 2]


def test_a_mapping_comes_back_in_its_order(store) -> None:
    """So a stage that goes through it does the same, whether its input was computed or read."""
    store.write("cd" * 20, {"": Value({"z": 1, "a": {"y": 2, "b": 3}})}, {})
    (found,) = store.read("cd" * 20).values()
    assert list(found.value) == ["z", "a"]
    assert list(found.value["a"]) == ["y", "b"]


def test_equal_results_are_equal_bytes(store, tmp_path) -> None:
    other = Store(tmp_path / "other")
    other.write(KEY, RESULT, {"node": "n"})
    first, second = store.place(KEY), other.place(KEY)
    assert {p.name: p.read_bytes() for p in first.iterdir()} == {p.name: p.read_bytes() for p in second.iterdir()}


def test_the_second_writer_of_a_key_changes_nothing(store) -> None:
    store.write(KEY, {"": Value(1)}, {})
    assert "model" in store.read(KEY)
    assert list((store.root / "tmp").iterdir()) == []


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "manifest"])
def test_damage_is_found(store, damage) -> None:
    folder = store.place(KEY)
    victim = folder / "manifest.json" if damage == "manifest" else next(iter(folder.glob("*.parquet")))
    content = bytearray(victim.read_bytes())
    if damage == "remove":
        victim.unlink()
    else:
        content[len(content) // 2] ^= 0x10
        victim.write_bytes(content[: len(content) // 2] if damage == "cut" else content)
    with pytest.raises(CorruptArtifact):
        store.read(KEY)


def test_an_interrupted_write_leaves_nothing(store) -> None:
    with pytest.raises(TypeError):
        store.write("cd" * 20, {"a": Value(1), "b": object()}, {})  # type: ignore[dict-item]
    assert not store.contains("cd" * 20)
    assert list((store.root / "tmp").iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no /proc here")
def test_a_store_where_no_folder_can_be_made_is_told() -> None:
    with pytest.raises(StoreError, match="the store /proc/nothing/store cannot be made"):
        Store("/proc/nothing/store").prepare()


def test_a_store_below_a_file_cannot_be_written(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        Store(tmp_path / "file" / "store").prepare()


def test_small_results_are_synced_together_and_a_slow_one_at_once(tmp_path, monkeypatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr("kdrun.runtime.files._sync", lambda path: synced.append(path.name))
    store = Store(tmp_path)
    store.prepare()
    keys = [f"{i:02x}" * 20 for i in range(3)]
    for key in keys:
        store.write(key, {"": Value(1)}, {})
    assert synced == []
    store.settle()
    assert set(keys) < set(synced)
    assert keys[0][:2] in synced
    synced.clear()
    store.settle()
    assert synced == []
    store._unsettled._since -= 2
    store.write("ff" * 20, {"": Value(1)}, {})
    assert "ff" * 20 in synced


def test_a_run_that_fails_syncs_what_it_has_computed(session, monkeypatch) -> None:
    run = session("kd", *QUICK)
    called: list[int] = []
    monkeypatch.setattr(run.store, "settle", lambda: called.append(1))
    monkeypatch.setattr(run.executor, "_call", lambda node, key: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run.run()
    assert called
