"""Tidying a store up: what nobody needs goes, what anybody may need stays."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import pytest
import torch

from kdrun.engine.garbage import Wish, delete, plan, tidy
from kdrun.engine.store import Store
from kdrun.errors import InputError, StoreError
from kdrun.runtime.artifacts import Tensors, Value
from kdrun.runtime.checkpoints import Checkpoints
from support.recipes import QUICK

DAY = 86400.0
KEYS = [f"{i:02x}" * 20 for i in range(4)]


def aged(path: Path, days: float) -> Path:
    """Let a file or folder, and all in it, be last touched so many days ago."""
    then = time.time() - days * DAY
    for one in [*path.rglob("*"), path] if path.is_dir() else [path]:
        os.utime(one, (then, then))
    return path


@pytest.fixture
def store(tmp_path) -> Store:
    """Four results, of which the first was read three days ago and the last just now."""
    ready = Store(tmp_path)
    ready.prepare()
    for i, key in enumerate(KEYS):
        ready.write(key, {"": Value("x" * 1000)}, {"node": f"n{i}"})
        aged(ready.place(key), 3 - i)
    return ready


def left(store: Store) -> list[int]:
    return [KEYS.index(entry.key) for entry in store.entries()]


def test_a_write_of_any_process_is_a_leftover_a_day_after_its_last_byte(store) -> None:
    for name, days in (("theirs.1", 0.9), ("theirs.2", 1.1)):
        folder = store.root / "tmp" / name
        folder.mkdir()
        (folder / "0.safetensors").write_bytes(b"half")
        aged(folder, days)
    tidy(store)
    assert [p.name for p in (store.root / "tmp").iterdir()] == ["theirs.1"]


def test_answers_that_no_run_asked_for_in_a_day_are_leftovers(store) -> None:
    for name, days in (("asked", 0.9), ("forgotten", 1.1)):
        folder = store.root / "answers" / name
        folder.mkdir(parents=True)
        (folder / "one.answers").write_bytes(b"some")
        aged(folder, days)
    tidy(store)
    assert [p.name for p in (store.root / "answers").iterdir()] == ["asked"]


def test_what_a_wrong_clock_dated_ahead_is_a_leftover_too(store) -> None:
    folder = store.root / "tmp" / "theirs"
    folder.mkdir()
    with store.leases.held("kd", KEYS[:1]):
        lease = next((store.root / "leases").iterdir())
        aged(folder, -0.9)
        aged(lease, -0.9)
        tidy(store)
        assert folder.is_dir()
        assert lease.is_file()
        aged(folder, -400)
        aged(lease, -400)
        assert not plan(store, Wish(keep_bytes=0)).kept
        tidy(store)
        assert not folder.exists()
        assert not lease.exists()


@pytest.mark.parametrize("name", ["tmp", "checkpoints", "leases", "corrupt", "objects", "objects/zz"])
def test_what_a_link_leads_to_is_not_the_stores_to_delete(store, tmp_path_factory, name) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "letter.txt").write_text("dear friend")
    aged(elsewhere, 400)
    place = store.root / name
    if place.exists():
        place.rename(store.root / "was")
    place.symlink_to(elsewhere)
    with contextlib.suppress(StoreError):  # which names a link in the place of a folder
        delete(store, plan(store, Wish(older_than_days=0)).items)
    assert [path.name for path in elsewhere.iterdir()] == ["letter.txt"]


def test_a_folder_that_is_still_written_into_is_no_leftover(store) -> None:
    folder = store.root / "tmp" / "theirs"
    folder.mkdir()
    aged(folder, 5)
    (folder / "0.safetensors").write_bytes(b"more")
    tidy(store)
    assert folder.is_dir()


def test_a_folder_that_another_process_moves_away_meanwhile_stops_nobody(store, monkeypatch) -> None:
    folder = store.root / "tmp" / "theirs"
    (folder / "inner").mkdir(parents=True)
    aged(folder, 2)
    scan = os.scandir

    def scandir(place: str | Path | int = ".") -> object:
        if place in (folder, str(folder)) and folder.is_dir():
            folder.rename(store.root / "theirs")
        return scan(place)

    monkeypatch.setattr(os, "scandir", scandir)
    tidy(store)
    assert (store.root / "theirs" / "inner").is_dir()


def test_locks_and_checkpoints_of_finished_stages_go_and_held_locks_stay(store) -> None:
    Checkpoints(store.root / "checkpoints", KEYS[0]).save(1, {}, {})
    Checkpoints(store.root / "checkpoints", "ff" * 20).save(1, {}, {})
    for key in (KEYS[0], "ff" * 20):
        aged(store.root / "checkpoints" / key, 2)
    with store.lock(KEYS[1]), store.lock(KEYS[2]):
        pass
    with store.lock(KEYS[2]):
        for key in KEYS[1:3]:
            aged(store.root / "locks" / f"{key}.lock", 2)
        tidy(store)
    assert [p.name for p in (store.root / "checkpoints").iterdir() if p.name != "tmp"] == ["ff" * 20]
    assert [p.stem for p in (store.root / "locks").iterdir()] == [KEYS[2]]


def test_to_try_a_lock_is_not_to_use_it(store, monkeypatch) -> None:
    """Whether or not taking it empties the file, as filelock does up to some version."""
    import filelock

    acquire = filelock.FileLock.acquire

    def emptying(self, *given, **named):
        found = acquire(self, *given, **named)
        os.truncate(self.lock_file, 0)
        os.utime(self.lock_file)
        return found

    monkeypatch.setattr(filelock.FileLock, "acquire", emptying)
    with store.lock(KEYS[1]):
        pass
    path = store.root / "locks" / f"{KEYS[1]}.lock"
    aged(path, 2)
    before = path.stat().st_mtime_ns
    assert store.is_free(KEYS[1])
    assert path.stat().st_mtime_ns == before
    tidy(store)
    assert not path.exists()


def test_results_go_by_the_time_since_they_were_read(store) -> None:
    store.read(KEYS[0])
    delete(store, plan(store, Wish(older_than_days=1.5)).items)
    assert left(store) == [0, 2, 3]


def test_the_least_recently_read_go_until_the_size_is_reached(tmp_path) -> None:
    store = Store(tmp_path)
    for i, key in enumerate(KEYS):
        store.write(key, {"": Tensors({"": torch.zeros(1000)})}, {})
        aged(store.place(key), 3 - i)
    each = next(store.entries()).bytes
    delete(store, plan(store, Wish(keep_bytes=2.5 * each)).items)
    assert left(store) == [2, 3]


def test_what_an_unfinished_run_names_or_a_process_holds_stays(store) -> None:
    everything = Wish(older_than_days=0)
    with store.leases.held("some/recipe", KEYS[:2]), store.lock(KEYS[2]):
        found = plan(store, everything)
        delete(store, found.items)
        assert left(store) == [0, 1, 2]
        assert sorted(KEYS.index(entry.key) for entry in found.kept) == [0, 1, 2]
    delete(store, plan(store, everything).items)
    assert left(store) == []


def test_the_lease_of_a_run_that_failed_or_was_killed_lasts_a_day(store) -> None:
    with pytest.raises(RuntimeError), store.leases.held("some/recipe", KEYS[:1]):
        raise RuntimeError
    wish = Wish(older_than_days=2)
    assert [entry.key for entry in plan(store, wish).kept] == KEYS[:1]
    (lease,) = (store.root / "leases").iterdir()
    aged(lease, 1.1)
    assert KEYS[0] in [item.key for item in plan(store, wish).items]
    tidy(store)
    assert not lease.exists()


def test_a_damaged_lease_may_name_anything(store) -> None:
    with store.leases.held("some/recipe", KEYS[:1]):
        (lease,) = (store.root / "leases").iterdir()
        lease.write_bytes(lease.read_bytes()[:-20])
        with pytest.raises(StoreError, match="is damaged: delete it if no run is going on"):
            plan(store, Wish(older_than_days=0))
        tidy(store)
        assert lease.exists()


def test_what_was_read_after_it_was_planned_for_deletion_stays(store) -> None:
    items = plan(store, Wish(older_than_days=1.5)).items
    store.read(KEYS[0])
    delete(store, items)
    assert left(store) == [0, 2, 3]


def test_what_may_not_be_deleted_stops_nobody(store, monkeypatch) -> None:
    folder = store.root / "tmp" / "theirs"
    folder.mkdir()
    aged(folder, 2)
    rename = os.rename

    def refused(source: Path, target: Path) -> None:
        if source == folder:
            raise PermissionError(13, "Permission denied")
        rename(source, target)

    monkeypatch.setattr(os, "rename", refused)
    (store.root / "tmp" / "mine").mkdir()
    aged(store.root / "tmp" / "mine", 2)
    tidy(store)
    assert [p.name for p in (store.root / "tmp").iterdir()] == ["theirs"]


def test_a_run_that_finds_everything_stored_is_noted(store, session) -> None:
    ready = session("kd", *QUICK)
    ready.run()
    for path in (ready.store.root / "named").iterdir():
        path.unlink()
    session("kd", *QUICK).run()
    assert [(note.recipe, len(note.keys)) for note in ready.store.leases.notes()] == [("distillation/kd", 5)]


def test_a_recipe_lets_go_only_what_it_alone_named(store) -> None:
    for recipe, keys in (("one/kd", KEYS[:2]), ("two/nd", KEYS[1:3])):
        with store.leases.held(recipe, keys):
            pass
    delete(store, plan(store, Wish(recipe="kd")).items)
    assert left(store) == [1, 2, 3]
    with pytest.raises(InputError, match=r"did you mean 'two/nd'"):
        plan(store, Wish(recipe="two/md"))


def test_a_run_lets_go_only_what_it_alone_named(store) -> None:
    for keys in (KEYS[:2], KEYS[1:3]):
        with store.leases.held("one/kd", keys):
            pass
    delete(store, plan(store, Wish(run=frozenset(KEYS[:2]))).items)
    assert left(store) == [1, 2, 3]


def test_the_command_says_first_what_it_would_do_and_doctor_explains_what_is_there(kdrun, tmp_path) -> None:
    assert kdrun("run", "kd", *QUICK).code == 0
    store = Store(tmp_path / "store")
    assert kdrun("gc").out.rstrip().endswith("nothing to delete")
    (run,) = (tmp_path / "runs").glob("*/*")
    damaged = next(store.entries()).key
    (store.place(damaged) / "manifest.json").write_bytes(b"")
    said = kdrun("doctor", "--verify")
    assert said.code == 1
    assert f"objects/{damaged[:2]}/{damaged}: the manifest of {damaged[:10]} is corrupt" in said.out
    assert "kdrun gc would free" in said.out
    before = left_keys(store)
    asked = kdrun("gc", "--run", str(run))
    assert "of the run" in asked.out
    assert "--yes does it" in asked.out
    assert left_keys(store) == before
    assert "freed" in kdrun("gc", "--run", str(run), "--yes").out
    assert left_keys(store) == []
    assert kdrun("doctor").code == 0
    assert kdrun("gc", "--older-than", "-1").code == 2
    assert kdrun("gc", "--run", "nowhere").code == 2


def test_the_doctor_compares_checkpoints_too(kdrun, tmp_path) -> None:
    saved = Checkpoints(tmp_path / "store" / "checkpoints", KEYS[0])
    saved.save(1, {"w": torch.zeros(3)}, {})
    saved.save(2, {"w": torch.ones(3)}, {})
    assert kdrun("doctor", "--verify").code == 0
    (saved.folder / "000000000002" / "meta.json").unlink()
    said = kdrun("doctor", "--verify")
    assert said.code == 1
    assert f"meta.json of the checkpoint 000000000002 of {KEYS[0][:10]}" in said.out
    assert len(list(saved.folder.iterdir())) == 2  # who goes on deletes it, not who looks


def test_a_damaged_note_is_let_go_and_written_again_by_the_next_run(store) -> None:
    for _ in range(2):
        with store.leases.held("some/recipe", KEYS[:1]):
            pass
        (note,) = store.leases.notes()
        note.path.write_bytes(note.path.read_bytes()[:-9])
    (item,) = plan(store).items
    assert item.why == "a damaged note of a run"
    delete(store, [item])
    assert not note.path.exists()


def left_keys(store: Store) -> list[str]:
    return [entry.key for entry in store.entries()]
