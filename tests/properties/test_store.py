"""The store: whatever is kept is read as it was, and no change of any byte of an entry goes unseen."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kdrun.engine.store import Store
from kdrun.errors import CorruptArtifact
from kdrun.runtime.artifacts import Model, Table, Tensors, Value

KEY, OTHER = "ab" * 20, "ac" * 20

NUMBERS = st.floats(-1e6, 1e6, width=32)
NAMES = st.from_regex(r"[a-z][a-z_]{0,6}", fullmatch=True)
TENSORS = st.lists(NUMBERS, max_size=5).map(torch.tensor) | st.lists(st.integers(-9, 9), min_size=1, max_size=4).map(
    lambda values: torch.tensor(values, dtype=torch.int64)
)
ROWS = st.lists(st.fixed_dictionaries({"a": st.integers(0, 99), "b": NUMBERS}), min_size=1, max_size=3)
ARTIFACTS = (
    st.dictionaries(NAMES, TENSORS, min_size=1, max_size=3).map(lambda state: Model({"model": "mlp"}, state))
    | st.dictionaries(NAMES, TENSORS, min_size=1, max_size=3).map(Tensors)
    | ROWS.map(Table)
    | st.dictionaries(NAMES, st.integers() | st.text(max_size=5), max_size=3).map(Value)
)
RESULTS = st.dictionaries(st.just("") | NAMES, ARTIFACTS, min_size=1, max_size=3)


@pytest.fixture
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("store")


def written(folder: Path, result: dict) -> tuple[Store, Path]:
    """A store with this result alone, and the place of its files."""
    shutil.rmtree(folder, ignore_errors=True)
    store = Store(folder)
    store.write(KEY, result, {"node": "n"})
    return store, store.place(KEY)


def files_of(place: Path) -> list[Path]:
    return sorted(path for path in place.iterdir() if path.is_file())


def same(one: object, other: object) -> bool:
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    return one == other


def told(artifact: object) -> object:
    return {name: value for name, value in vars(artifact).items() if not name.startswith("_")}


@given(RESULTS)
def test_what_is_kept_is_read_as_it_was(folder, result) -> None:
    store, _ = written(folder, result)
    found = store.read(KEY)
    assert found.keys() == result.keys()
    for name, artifact in result.items():
        assert type(found[name]) is type(artifact)
        assert same(dict(told(found[name])), dict(told(artifact)))


@given(RESULTS, st.data())
def test_any_changed_byte_of_any_file_is_found(folder, result, data) -> None:
    store, place = written(folder, result)
    file = data.draw(st.sampled_from(files_of(place)), label="file")
    content = bytearray(file.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1), label="place")
    content[at] ^= data.draw(st.integers(1, 255), label="bits")
    file.write_bytes(content)
    with pytest.raises(CorruptArtifact):
        store.read(KEY)


@given(RESULTS, st.data())
def test_bytes_that_are_missing_added_or_moved_are_found(folder, result, data) -> None:
    store, place = written(folder, result)
    file = data.draw(st.sampled_from(files_of(place)), label="file")
    content = file.read_bytes()
    cut = data.draw(st.integers(0, len(content) - 1), label="cut")
    changed = data.draw(
        st.sampled_from([content[:cut], content[cut + 1 :], content + content[cut:], content[cut:] + content[:cut]]),
        label="changed",
    )
    file.write_bytes(changed)
    if changed == content:
        store.read(KEY)
        return
    with pytest.raises(CorruptArtifact):
        store.read(KEY)


@given(RESULTS, RESULTS, st.data())
def test_files_of_another_result_are_never_taken_for_its_own(folder, first, second, data) -> None:
    store, place = written(folder, first)
    store.write(OTHER, second, {"node": "n"})
    theirs = {path.name: path.read_bytes() for path in files_of(store.place(OTHER))}
    ours = {path.name: path.read_bytes() for path in files_of(place)}
    taken = data.draw(st.sets(st.sampled_from(sorted(ours)), min_size=1), label="taken")
    for name in taken & theirs.keys():
        (place / name).write_bytes(theirs[name])
    if all((place / name).read_bytes() == content for name, content in ours.items()):
        store.read(KEY)
        return
    with pytest.raises(CorruptArtifact):
        store.read(KEY)
