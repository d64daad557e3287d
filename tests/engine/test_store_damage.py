"""A store that was damaged: whatever happened to it, a rerun ends with the bytes of an undisturbed one."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from kdrun.engine.store import Store
from kdrun.errors import CorruptArtifact, StoreError
from kdrun.runtime.artifacts import Model, Table, Value
from support.recipes import QUICK
from support.runs import Listener, run

KEY, OTHER = "ab" * 20, "ac" * 20
RESULT = {"": Model({"model": "mlp"}, {"w": torch.arange(3.0)}), "best": Value({"depth": 3})}


def obtain(root: Path, key: str = KEY) -> None:
    """What the engine does for a stage: read it, or set damage aside, compute and write."""
    store = Store(root)
    try:
        found = store.read(key) if store.contains(key) else None
    except CorruptArtifact as error:
        store.discard(key, str(error))
        found = None
    if found is None:
        store.write(key, RESULT, {"node": "n"})
        found = store.read(key)
    assert torch.equal(found[""].state["w"], torch.arange(3.0))
    assert found["best"].value == {"depth": 3}


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


@pytest.fixture
def whole(tmp_path) -> Path:
    obtain(tmp_path)
    return Store(tmp_path).place(KEY)


@pytest.mark.parametrize("name", ["manifest.json", "0.safetensors"])
def test_any_flipped_byte_is_found_and_the_rerun_restores_it(tmp_path, whole, name) -> None:
    before = contents(whole)
    for place in range(len(before[name])):
        changed = bytearray(before[name])
        changed[place] ^= 1 << place % 8
        (whole / name).write_bytes(changed)
        with pytest.raises(CorruptArtifact):
            Store(tmp_path).read(KEY)
        obtain(tmp_path)
        assert contents(whole) == before


@pytest.mark.parametrize("name", ["manifest.json", "0.safetensors"])
def test_a_file_cut_anywhere_or_gone_is_restored(tmp_path, whole, name) -> None:
    before = contents(whole)
    for length in range(0, len(before[name]), 7):
        (whole / name).write_bytes(before[name][:length])
        obtain(tmp_path)
        assert contents(whole) == before
    (whole / name).unlink()
    obtain(tmp_path)
    assert contents(whole) == before


def swap(one: Path, other: Path) -> None:
    between = one.with_name("between")
    one.rename(between)
    other.rename(one)
    between.rename(other)


def as_file(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    path.write_text("in the way")


def as_folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    (path / "inner").mkdir(parents=True)


def to_elsewhere(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    path.symlink_to("/nonexistent/place")


def without_entry(root: Path, entry: Path) -> None:
    shutil.rmtree(entry)
    as_file(root / "tmp")


def with_corrupt_taken(root: Path, entry: Path) -> None:
    as_file(root / "corrupt")
    as_file(entry)


def emptied(root: Path, entry: Path) -> None:
    for path in entry.iterdir():
        path.unlink()


def piped(root: Path, entry: Path) -> None:
    (entry / "0.safetensors").unlink()
    os.mkfifo(entry / "0.safetensors")


def written(text: str) -> Callable[[Path, Path], object]:
    return lambda root, entry: (entry / "manifest.json").write_text(text)


DAMAGE: dict[str, Callable[[Path, Path], object]] = {
    "entry emptied": emptied,
    "entry a file": lambda root, entry: as_file(entry),
    "entry a dangling link": lambda root, entry: to_elsewhere(entry),
    "shelf a file": lambda root, entry: as_file(entry.parent),
    "objects a file": lambda root, entry: as_file(root / "objects"),
    "temporary folder a file": without_entry,
    "manifest a folder": lambda root, entry: as_folder(entry / "manifest.json"),
    "weights a folder": lambda root, entry: as_folder(entry / "0.safetensors"),
    "weights a pipe": piped,
    "corrupt a file": with_corrupt_taken,
    "a stranger's manifest": written('{"format": 1, "key": 3}'),
    "a manifest of another shape": written("[1, 2]"),
    "a manifest deeply nested": written("[" * 100000),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_whatever_stands_in_the_way_is_set_aside_and_the_result_written(tmp_path, whole, what) -> None:
    before = contents(whole)
    DAMAGE[what](tmp_path, whole)
    obtain(tmp_path)
    assert contents(whole) == before
    aside = [p for p in (tmp_path / "corrupt").iterdir() if not p.name.endswith(".reason.txt")]
    assert aside
    for path in aside:
        assert path.with_name(f"{path.name}.reason.txt").read_text().strip()


def test_results_in_each_others_places_are_both_restored(tmp_path, whole) -> None:
    store = Store(tmp_path)
    store.write(OTHER, {"": Value("other")}, {})
    swap(whole, store.place(OTHER))
    with pytest.raises(CorruptArtifact, match="that of another result"):
        Store(tmp_path).read(OTHER)
    before = contents(store.place(OTHER))
    obtain(tmp_path)
    assert contents(whole) == before


def test_files_of_one_result_in_each_others_places_are_found(tmp_path) -> None:
    store = Store(tmp_path)
    store.write(KEY, {"a": RESULT[""], "b": Model({}, {"w": torch.zeros(3)})}, {})
    swap(store.place(KEY) / "0.safetensors", store.place(KEY) / "1.safetensors")
    with pytest.raises(CorruptArtifact, match="checksum"):
        Store(tmp_path).read(KEY)


def test_a_manifest_cannot_name_files_outside_its_folder(tmp_path, whole) -> None:
    from kdrun.runtime.files import sealed, unsealed

    content = unsealed((whole / "manifest.json").read_bytes())
    content["files"]["../../../secret"] = content["files"]["0.safetensors"]
    content["fields"][""]["files"] = ["../../../secret"]
    (whole / "manifest.json").write_bytes(sealed(content))
    with pytest.raises(CorruptArtifact, match="it names the file"):
        Store(tmp_path).read(KEY)


def test_a_result_with_fitting_checksums_and_no_meaning_is_computed_again(tmp_path, whole) -> None:
    from kdrun.runtime.files import sealed, unsealed

    content = unsealed((whole / "manifest.json").read_bytes())
    content["fields"][""]["meta"] = ["nothing", "known"]
    (whole / "manifest.json").write_bytes(sealed(content))
    obtain(tmp_path)


def as_format(entry: Path, number: int) -> None:
    """Rewrite an entry as the first format did, or as one that is newer than known."""
    from kdrun.runtime.files import sealed, unsealed

    content = {**unsealed((entry / "manifest.json").read_bytes()), "format": number}
    plain = json.dumps(content, indent=1, sort_keys=True).encode()
    (entry / "manifest.json").write_bytes(plain if number == 1 else sealed(content))


def test_a_result_of_the_first_format_is_read(tmp_path, whole) -> None:
    as_format(whole, 1)
    assert Store(tmp_path).read(KEY)["best"].value == {"depth": 3}


def test_a_result_of_a_newer_format_is_refused_and_stays(tmp_path, whole) -> None:
    as_format(whole, 3)
    with pytest.raises(StoreError, match=r"format 3, written by a newer kdrun \(this one reads up to 2\)"):
        Store(tmp_path).read(KEY)
    with pytest.raises(StoreError, match="newer"):
        Store(tmp_path).write(KEY, RESULT, {})
    assert json.loads((whole / "manifest.json").read_text())["format"] == 3


def test_a_folder_where_a_lock_is_expected_is_set_aside(tmp_path) -> None:
    store = Store(tmp_path)
    (tmp_path / "locks" / f"{KEY}.lock" / "inner").mkdir(parents=True)
    with store.lock(KEY):
        assert (tmp_path / "locks" / f"{KEY}.lock").is_file()
    assert any(p.is_dir() for p in (tmp_path / "corrupt").iterdir())


def test_a_run_names_what_was_damaged_computes_it_once_and_ends_with_the_same_bytes(session, tmp_path) -> None:
    ready = session("kd", *QUICK)
    before = ready.run()
    entries = {name: ready.store.place(ready.keys[name]) for name in ("fit_student", "test")}
    bytes_before = {name: contents(folder) for name, folder in entries.items()}
    (entries["fit_student"] / "manifest.json").unlink()
    (entries["test"] / "manifest.json").write_text("{}")
    listener = run(session, *QUICK)
    assert listener.computed == ["fit_student", "test"]
    assert sum("set aside, computing it again" in said for said in listener.said) == 2
    assert {name: contents(folder) for name, folder in entries.items()} == bytes_before
    assert run(session, *QUICK).computed == []
    assert session("kd", *QUICK).run().metrics == before.metrics


def test_a_damaged_table_of_a_stage_that_is_not_due_is_computed_again(session) -> None:
    ready = session("kd", *QUICK)
    ready.run()
    folder = ready.store.place(ready.keys["fit_student"])
    for table in folder.glob("*.parquet"):
        table.write_bytes(b"")
    again = session("kd", *QUICK)
    again.executor.reporter = listener = Listener()
    again.run()
    assert listener.computed == ["fit_student"]


def test_equal_tables_are_equal_bytes_however_often_they_are_written(tmp_path) -> None:
    rows = [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": None}]
    for place in ("one", "two"):
        Store(tmp_path / place).write(KEY, {"": Table(rows)}, {})
    assert contents(Store(tmp_path / "one").place(KEY)) == contents(Store(tmp_path / "two").place(KEY))
