"""What a store could do without: leftovers of processes that are gone, damage, and results that the user lets go.

Whether a process is gone is judged by the time since it was last heard of, on the file system's own clock: it may have
run on another machine.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import uuid
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from kdrun.engine.leases import LEASE_SECONDS, Named
from kdrun.engine.store import Entry, Store
from kdrun.errors import CorruptArtifact, InputError, StoreError, nearest
from kdrun.runtime.files import clock, ensure_folder, store_errors

__all__ = ["Item", "Plan", "Wish", "damaged", "delete", "leftovers", "plan", "tidy"]


@dataclass(frozen=True)
class Item:
    """Something to delete: where it lies, why, the key whose lock is needed, its size in bytes and last change (seconds)."""

    path: Path
    why: str
    key: str | None
    bytes: int
    touched: float

    @classmethod
    def at(cls, path: Path, why: str, key: str | None = None) -> Item:
        return cls(path, why, key, sum(found.st_size for found in _stats(path)), _touched(path))

    @property
    def name(self) -> str:
        return f"{self.path.parent.name}/{self.path.name[:16]}"


@dataclass(frozen=True)
class Wish:
    """Which results to let go: unread for so long, the least recently read beyond a size, those of a recipe, those of a run."""

    older_than_days: float | None = None
    keep_bytes: float | None = None
    recipe: str | None = None
    run: frozenset[str] | None = None


@dataclass
class Plan:
    """``items`` can go; ``kept`` were wished away, and are in use or named by an unfinished run."""

    items: list[Item] = field(default_factory=list)
    kept: list[Entry] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        return sum(item.bytes for item in self.items)


def plan(store: Store, wish: Wish | None = None) -> Plan:
    """What would be deleted: always what nobody needs, and of the results what ``wish`` names and no run needs.

    Raises ``InputError`` for a recipe that named nothing in this store.
    """
    wish = wish or Wish()
    store.refuse_links()
    with store_errors(store.root):
        now = _now(store)
        needed = _needed(store, now)
        found = Plan([*leftovers(store, now), *_set_aside(store)])
        found.items += [
            Item.at(path, f"damaged: {why}", path.name if path == store.place(path.name) else None)
            for path, why in damaged(store)
        ]
        entries = list(store.entries())
        found.items += _notes(store, {entry.key for entry in entries})
        for entry, why in _wished(store, entries, wish, now):
            if entry.key in needed or not store.is_free(entry.key):
                found.kept.append(entry)
            else:
                path = store.place(entry.key)
                found.items.append(Item.at(path, why, entry.key))
        if wish.older_than_days is not None:
            found.items += _abandoned(store, now - wish.older_than_days * 86400, needed, found.items)
        return found


def tidy(store: Store) -> int:
    """Delete what processes left that are gone; return the bytes freed."""
    store.refuse_links()
    with store_errors(store.root):
        return delete(store, leftovers(store, _now(store)))


def delete(store: Store, items: Collection[Item]) -> int:
    """Delete; return the bytes freed. What has come into use since stays, and what the system refuses to delete."""
    freed = 0
    store.refuse_links()
    with store_errors(store.root):
        temporary = ensure_folder(store.root / "tmp", store.root)
        for item in items:
            with contextlib.suppress(OSError, StoreError):  # another user's, which this one may not delete
                freed += _delete_if_unused(store, item, temporary)
    return freed


def _delete_if_unused(store: Store, item: Item, temporary: Path) -> int:
    with store.lock_if_free(item.key) if item.key else contextlib.nullcontext(True) as free:
        if not free or _touched(item.path) != item.touched or not _delete(item.path, temporary):
            return 0
        if item.key:
            (store.root / "locks" / f"{item.key}.lock").unlink(missing_ok=True)
        return item.bytes


def _delete(path: Path, temporary: Path) -> bool:
    """At once, by a rename: nobody sees a half of it."""
    target = temporary / f"deleted.{uuid.uuid4().hex}"
    try:
        os.rename(path, target)
    except FileNotFoundError:
        return False
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target, ignore_errors=True)
    else:
        target.unlink(missing_ok=True)
    return True


def leftovers(store: Store, now: float | None = None) -> list[Item]:
    """What processes left behind that have not been heard of for a day."""
    now = _now(store) if now is None else now
    found = []
    for folder in (store.root / "tmp", store.root / "checkpoints" / "tmp"):
        found += [Item.at(p, "an unfinished write") for p in _children(folder) if _is_over(_touched(p), now)]
    for path in _children(store.root / "answers"):
        if _is_over(_touched(path), now):
            found.append(Item.at(path, "answers of frozen models that no run has asked for"))
    for path in _children(store.root / "leases"):
        if _is_over(_touched(path), now):
            found.append(Item.at(path, "the lease of a run that was cut off"))
    for path in _children(store.root / "checkpoints"):
        if path.name != "tmp" and store.contains(path.name) and _is_over(_touched(path), now):
            found.append(Item.at(path, "checkpoints of a finished stage", path.name))
    return found + _locks(store, now)


def _locks(store: Store, now: float) -> list[Item]:
    """The locks that nobody holds; not all file systems tell of one that is held by another machine, so leases count, too."""
    try:
        needed = _needed(store, now)
    except StoreError:  # a damaged lease: it may name any of them
        return []
    return [
        Item.at(path, "the lock of a finished stage", path.stem)
        for path in _children(store.root / "locks")
        if path.suffix == ".lock" and path.is_file() and path.stem not in needed
        if _is_over(_touched(path), now) and store.is_free(path.stem)
    ]


def damaged(store: Store) -> Iterator[tuple[Path, str]]:
    """Results that the next run would set aside, by their manifest alone, and why. What a linked folder holds may be anybody's."""
    for path in () if (store.root / "objects").is_symlink() else store.places():
        try:
            store.entry(path)
        except CorruptArtifact as error:
            yield path, error.message
        except StoreError:  # of a newer version, which can read it
            continue


def _set_aside(store: Store) -> list[Item]:
    return [
        Item.at(path, "set aside as damaged")
        for folder in sorted(store.root.glob("corrupt*"))
        for path in (_children(folder) if folder.is_dir() and not folder.is_symlink() else [folder])
    ]


def _abandoned(store: Store, limit: float, needed: Collection[str], taken: Collection[Item]) -> list[Item]:
    """Checkpoints of stages that nobody went on with."""
    paths = {item.path for item in taken}
    return [
        Item.at(path, "checkpoints of a stage that nobody finished", path.name)
        for path in _children(store.root / "checkpoints")
        if path.name not in {"tmp", *needed} and path not in paths and _touched(path) < limit
        if store.is_free(path.name)
    ]


def _notes(store: Store, stored: Collection[str]) -> list[Item]:
    """Notes of runs none of whose results is there any more, and damaged ones."""
    damage = [Item.at(path, "a damaged note of a run") for path in store.leases.damaged_notes()]
    return damage + [
        Item.at(note.path, "the note of a run whose results are gone")
        for note in store.leases.notes()
        if note.keys.isdisjoint(stored)
    ]


def _needed(store: Store, now: float) -> set[str]:
    """The keys that unfinished runs name."""
    return {key for lease in store.leases.leases() if not _is_over(lease.renewed, now) for key in lease.keys}


def _is_over(heard: float, now: float) -> bool:
    """Whether a process is gone that was heard of then (seconds): a day ago, or more than a day ahead.

    A clock that went wrong and was set right leaves times ahead; a process that is still there renews its own within minutes.
    """
    return heard != float("inf") and abs(now - heard) > LEASE_SECONDS


def _wished(store: Store, entries: list[Entry], wish: Wish, now: float) -> Iterator[tuple[Entry, str]]:
    """The results to let go, each once, with the reason."""
    own = _own_keys(store, wish)
    left = sum(entry.bytes for entry in entries)
    for entry in sorted(entries, key=lambda e: (e.used, e.key)):
        days = (now - entry.used) / 86400
        if entry.key in own:
            why = f"of {wish.recipe}" if wish.recipe else "of the run"
        elif wish.older_than_days is not None and days > wish.older_than_days:
            why = f"not read for {wish.older_than_days:g} days"
        elif wish.keep_bytes is not None and left > wish.keep_bytes:
            why = "the least recently read"
        else:
            continue
        left -= entry.bytes
        yield entry, why


def _own_keys(store: Store, wish: Wish) -> set[str]:
    """The keys that the recipe or the run of the wish names, and nothing else that was noted."""
    if wish.recipe is None and wish.run is None:
        return set()
    notes = [*store.leases.notes(), *store.leases.leases()]
    if wish.recipe is not None:
        own = {note.path for note in notes if wish.recipe in (note.recipe, note.recipe.rpartition("/")[2])}
        if not own:
            known = sorted({note.recipe for note in notes})
            near = nearest(wish.recipe, known) or f"; known: {', '.join(known) or 'none'}"
            raise InputError(f"no run of the recipe '{wish.recipe}' named results in {store.root}{near}")
        keys = _keys(n for n in notes if n.path in own)
        return keys - _keys(n for n in notes if n.path not in own)
    keys = set(wish.run or ())
    return keys - _keys(n for n in notes if n.keys != wish.run)


def _keys(notes: Iterator[Named]) -> set[str]:
    return {key for note in notes for key in note.keys}


def _now(store: Store) -> float:
    try:
        return clock(store.root / "tmp")
    except OSError:  # a store that cannot be written is looked at all the same
        return time.time()


def _children(folder: Path) -> list[Path]:
    """What is in a folder of the store; nothing of one that a link leads to, where anybody's files may be."""
    return sorted(folder.iterdir()) if folder.is_dir() and not folder.is_symlink() else []


def _stats(path: Path) -> Iterator[os.stat_result]:
    """Of a file or folder and all that is in it; what is deleted meanwhile is left out."""
    for one in (str(path), *_inside(path)):
        with contextlib.suppress(OSError):
            yield os.lstat(one)


def _inside(path: Path) -> Iterator[str]:
    """All that a folder holds, but for what links in it lead to; one that another process moves away holds nothing."""
    if not path.is_symlink():
        for folder, folders, files in os.walk(path):
            yield from (os.path.join(folder, name) for name in (*folders, *files))


def _touched(path: Path) -> float:
    """When anything in it was last written; a file that is gone is as new as can be."""
    return max((found.st_mtime for found in _stats(path)), default=float("inf"))
