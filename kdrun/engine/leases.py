"""Which results unfinished runs name, and which recipes named them before: what is needed is not tidied away.

leases/ID.json       recipe and keys of a run that is going on; it ends a day after its last renewal
named/CHECKSUM.json  the same, of a run that has ended
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import uuid
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

from kdrun.errors import StoreError
from kdrun.runtime.files import ensure_folder, sealed, store_errors, unsealed, write_file

__all__ = ["LEASE_SECONDS", "Leases", "Named"]

LEASE_SECONDS = 86400.0
"""A run or a write that has not been heard of for so long is no longer under way, on whatever machine it was."""

RENEWAL_SECONDS = 600.0

UNREADABLE = (ValueError, LookupError, TypeError, OSError)
"""What reading a damaged lease or note raises."""


@dataclass(frozen=True)
class Named:
    """The keys that a run named. ``renewed``: when it was last heard of (seconds)."""

    path: Path
    recipe: str
    keys: frozenset[str]
    renewed: float


class Leases:
    """The leases and notes of one store. Methods raise ``StoreError`` when the disk refuses."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextlib.contextmanager
    def held(self, recipe: str, keys: Collection[str]) -> Iterator[None]:
        """Name the keys for as long as the block runs; if it fails, for a day more, as the same run may go on."""
        content = _content(recipe, keys)
        with store_errors(self.root):
            path = ensure_folder(self.root / "leases", self.root) / f"{uuid.uuid4().hex}.json"
            write_file(path, content, ensure_folder(self.root / "tmp", self.root))
        ended = threading.Event()
        renewing = threading.Thread(target=_renew, args=(path, ended), daemon=True)
        renewing.start()
        try:
            yield
        finally:
            ended.set()
            renewing.join()
        self.note(recipe, keys)
        with contextlib.suppress(OSError):
            path.unlink()

    def note(self, recipe: str, keys: Iterable[str]) -> None:
        """Remember what a run named; runs that named the same share a note. Without a store to write to, nothing is noted."""
        content = _content(recipe, keys)
        path = self.root / "named" / f"{hashlib.sha256(content).hexdigest()[:40]}.json"
        with contextlib.suppress(OSError):
            if not _is_readable(path):
                temporary = ensure_folder(self.root / "tmp", self.root)
                write_file(ensure_folder(path.parent, self.root) / path.name, content, temporary)

    def leases(self) -> list[Named]:
        """Of runs that are going on, or were cut off. Raises ``StoreError`` for one that cannot be read."""
        found = []
        for path in sorted((self.root / "leases").glob("*.json")):
            try:
                found.append(_read(path))
            except FileNotFoundError:  # its run has ended since
                continue
            except UNREADABLE:
                raise StoreError(
                    f"the lease {path} of an unfinished run is damaged: delete it if no run is going on"
                ) from None
        return found

    def notes(self) -> list[Named]:
        """Of runs that have ended; damaged ones are left out."""
        found = []
        for path in sorted((self.root / "named").glob("*.json")):
            with contextlib.suppress(*UNREADABLE):
                found.append(_read(path))
        return found

    def damaged_notes(self) -> list[Path]:
        """What lies among the notes and is none."""
        folder = self.root / "named"
        return [path for path in sorted(folder.glob("*")) if os.path.lexists(path) and not _is_readable(path)]


def _content(recipe: str, keys: Iterable[str]) -> bytes:
    return sealed({"recipe": recipe, "keys": sorted(set(keys))})


def _renew(path: Path, ended: threading.Event) -> None:
    while not ended.wait(RENEWAL_SECONDS):
        with contextlib.suppress(OSError):
            os.utime(path)


def _read(path: Path) -> Named:
    if not S_ISREG(path.lstat().st_mode):
        raise ValueError("a file is expected")
    content = unsealed(path.read_bytes())
    return Named(path, str(content["recipe"]), frozenset(map(str, content["keys"])), path.stat().st_mtime)


def _is_readable(path: Path) -> bool:
    try:
        _read(path)
    except UNREADABLE:
        return False
    return True
