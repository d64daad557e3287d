"""The store: results of stages by key, written atomically, checked on reading, never unpickled.

objects/ab/abcdef.../manifest.json     fields, files, checksums; sealed with a checksum of itself
objects/ab/abcdef.../*.safetensors     weights and tensors
objects/ab/abcdef.../*.parquet         tables
answers/                               what frozen models said of augmented rows, shared by runs for a day
locks/  checkpoints/  tmp/
leases/  named/                        which results unfinished runs name, and which runs named them
corrupt/                               what was set aside, each with the reason
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdrun.config.reads import reads
from kdrun.engine.leases import Leases
from kdrun.engine.manifest import MANIFEST, Manifest, manifest_of, read_manifest
from kdrun.engine.packing import load, save
from kdrun.errors import CorruptArtifact, KdrunError, StoreError
from kdrun.runtime.artifacts import Artifact, Data, Model
from kdrun.runtime.files import (
    Unsettled,
    atomic_folder,
    clock,
    ensure_file,
    ensure_folder,
    refuse_links,
    set_aside,
    store_errors,
    verify,
)

__all__ = ["Entry", "Store", "default_root", "refuse_foreign"]


FOLDERS = (
    "objects",
    "answers",
    "locks",
    "tmp",
    "checkpoints",
    "checkpoints/tmp",
    "leases",
    "named",
    "corrupt",
    "studies",
)
"""The folders of a store, none of which is a link."""


def default_root() -> str:
    """``KDRUN_STORE``, else ``~/.cache/kdrun``."""
    return os.environ.get("KDRUN_STORE") or os.path.expanduser("~/.cache/kdrun")


@dataclass(frozen=True)
class Entry:
    """One stored result: its key, what it is, its size in bytes, when it was written and last read (seconds)."""

    key: str
    description: Mapping[str, Any]
    bytes: int
    created: float
    used: float
    format: int


class Store:
    """A folder of results by key. Methods raise ``StoreError`` when the disk refuses."""

    poll_seconds = 0.2
    """Between two looks at what others do in it."""

    @property
    def address(self) -> str:
        """What opens the same store in any folder, and on any machine that has it."""
        return str(self.root.absolute())

    def look_again(self) -> None:
        """Forget what is remembered of results that were not there."""

    def __init__(self, root: str | Path) -> None:
        if "://" in str(root):
            raise StoreError(f"a folder is expected; {root} is tidied and looked after by those who keep it")
        self.root = Path(root).expanduser()
        self.leases = Leases(self.root)
        self._verified: dict[str, tuple[int, ...]] = {}
        self._unsettled = Unsettled()

    def prepare(self) -> None:
        """Make sure that the store can be written."""
        self.refuse_links()
        with store_errors(self.root):
            for name in ("objects", "locks", "tmp"):
                try:
                    self._below(name)
                except FileNotFoundError as error:  # a place that holds no folders of ours
                    raise StoreError(
                        f"the store {self.root} cannot be made ({error.strerror}): set store=FOLDER or KDRUN_STORE"
                    ) from None
            clock(self.root / "tmp")

    def refuse_links(self) -> None:
        """Raise ``StoreError`` for a folder of the store that is a link: what is done in it would be done elsewhere."""
        for name in FOLDERS:
            refuse_links(self.root / name, self.root)

    def _below(self, *names: str) -> Path:
        return ensure_folder(self.root.joinpath(*names), self.root)

    def place(self, key: str) -> Path:
        """The folder of a result, there or not."""
        return self.root / "objects" / key[:2] / key

    def contains(self, key: str) -> bool:
        """Whether something lies under this key; only reading it tells whether it is whole."""
        return os.path.lexists(self.place(key))

    def kinds(self, key: str) -> dict[str, str]:
        """What a result holds: by field, ``model``, ``tensors``, ``table``, ``data`` or ``value``; nothing if it is damaged."""
        with store_errors(self.root):
            try:
                return {name: field["type"] for name, field in read_manifest(self.place(key)).fields.items()}
            except CorruptArtifact:
                return {}

    def write(self, key: str, fields: Mapping[str, Artifact], description: Mapping[str, Any]) -> None:
        """Store the result of a stage: all of it, or nothing. A whole one that is there stays, a damaged one is set aside."""
        with store_errors(self.root):
            temporary, final = self._below("tmp"), self.place(key)
            self._below(*final.parent.relative_to(self.root).parts)
            with atomic_folder(final, temporary, settled=self._settled, unsettled=self._unsettled) as folder:
                described = {
                    name: save(artifact, f"{i}", folder) for i, (name, artifact) in enumerate(sorted(fields.items()))
                }
                (folder / MANIFEST).write_bytes(manifest_of(key, description, described, folder))

    def settle(self) -> None:
        """Make sure that what was written stays even if the power fails now. A write does so by itself, but for those of the last second."""
        with store_errors(self.root):
            self._unsettled.settle()

    def _settled(self, folder: Path) -> bool:
        try:
            self.check(folder.name)
        except CorruptArtifact as error:
            set_aside(folder, self.root, str(error))
            return False
        return True

    def check(self, key: str) -> Manifest:
        """Compare all files of a result with their checksums. Raises ``CorruptArtifact`` if it is not whole."""
        with store_errors(self.root):
            manifest = read_manifest(self.place(key))
            for file in manifest.files:
                self._verify(manifest, file)
            return manifest

    def read(self, key: str, fields: Iterable[str] | None = None) -> dict[str, Artifact]:
        """Read a result, or some fields of it. Raises ``CorruptArtifact`` if bytes differ from what was written."""
        folder = self.place(key)
        with store_errors(self.root):
            manifest = read_manifest(folder)
            try:
                wanted = {name: manifest.fields[name] for name in (manifest.fields if fields is None else fields)}
                for described in wanted.values():
                    for file in described["files"]:
                        self._verify(manifest, file)
                found = {name: load(described, folder) for name, described in wanted.items()}
            except FileNotFoundError as error:  # deleted by another process since
                raise CorruptArtifact(f"{key[:10]} cannot be read ({error})") from None
            except (KdrunError, OSError, MemoryError):
                raise
            except Exception as error:  # what a stranger wrote may have fitting checksums and no meaning
                raise CorruptArtifact(f"{key[:10]} cannot be read ({type(error).__name__}: {error})") from None
            with contextlib.suppress(OSError):
                os.utime(folder, follow_symlinks=False)  # the time of the last use, for who tidies up
        return found

    def _verify(self, manifest: Manifest, file: str) -> None:
        """Compare a file with its checksum, once for each state of the file in this process."""
        path = self.place(manifest.key) / file
        with contextlib.suppress(OSError):
            if self._verified.get(str(path)) == _stamp(path):
                return
        verify(path, manifest.files[file], manifest.key[:10])
        self._verified[str(path)] = _stamp(path)

    def discard(self, key: str, reason: str = "") -> None:
        """Move a damaged result out of the way, for a look later."""
        with store_errors(self.root):
            set_aside(self.place(key), self.root, reason)

    @contextlib.contextmanager
    def lock(self, key: str, *, on_wait: Callable[[float], None] | None = None) -> Iterator[None]:
        """Hold the lock of a key: of several processes that want a stage, one computes it and the others wait.

        ``on_wait`` is called once if the lock is taken. The system frees the lock of a process that dies.
        """
        from filelock import Timeout

        with store_errors(self.root):
            lock = self._lock_file(key)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                if on_wait is not None:
                    on_wait(0.0)
                lock.acquire(poll_interval=0.1)
            with contextlib.suppress(OSError):
                os.utime(lock.lock_file)  # one that is used is no leftover
        try:
            yield
        finally:
            lock.release()

    @contextlib.contextmanager
    def lock_if_free(self, key: str) -> Iterator[bool]:
        """Hold the lock of a key if nobody else does; gives whether it is held. To try it is not to use it: its age stays."""
        from filelock import Timeout

        with store_errors(self.root):
            lock = self._lock_file(key)
            before = os.stat(lock.lock_file) if os.path.exists(lock.lock_file) else None
            with contextlib.suppress(Timeout):
                lock.acquire(timeout=0)
            if lock.is_locked and before is not None:  # older versions of filelock empty the file
                with contextlib.suppress(OSError):
                    os.utime(lock.lock_file, ns=(before.st_atime_ns, before.st_mtime_ns))
        try:
            yield lock.is_locked
        finally:
            lock.release()

    def is_free(self, key: str) -> bool:
        """Whether no process holds the lock of a key; one that cannot be tried counts as held."""
        if not (self.root / "locks" / f"{key}.lock").is_file():
            return True
        try:
            with self.lock_if_free(key) as free:
                return free
        except StoreError:
            return False

    def _lock_file(self, key: str) -> Any:
        """The lock of a key, not yet taken; what stands in its place and is no file is set aside."""
        from filelock import FileLock

        return FileLock(str(ensure_file(self._below("locks") / f"{key}.lock", self.root)))

    def entries(self) -> Iterator[Entry]:
        """All results whose manifest is whole and can be read by this version."""
        for path in self.places():
            with contextlib.suppress(CorruptArtifact, StoreError, OSError):
                yield self.entry(path)

    def places(self) -> list[Path]:
        """Where results lie, whole or not; files and folders that do not belong there are among them."""
        found: list[Path] = []
        for shelf in sorted((self.root / "objects").glob("*")):
            found += sorted(shelf.glob("*")) if _is_shelf(shelf) else [shelf]
        return found

    def entry(self, folder: Path) -> Entry:
        """What lies in one of ``places``. Raises ``CorruptArtifact``, or ``StoreError`` for a newer format."""
        manifest = read_manifest(folder)
        if folder != self.place(manifest.key):
            raise CorruptArtifact(f"{manifest.key[:10]} lies in another result's place")
        written, used = (folder / MANIFEST).stat().st_mtime, folder.stat().st_mtime
        return Entry(manifest.key, manifest.description, manifest.bytes, written, max(written, used), manifest.format)


def refuse_foreign(artifact: Artifact, named: Collection[str] = ()) -> None:
    """Raise ``CorruptArtifact`` for a model or data of a stored result that names files to read which no run here names.

    ``named`` is what the run names; what lies in the working folder anybody may name. The store may be a stranger's.
    """
    content = artifact.spec if isinstance(artifact, Model) else artifact.source if isinstance(artifact, Data) else {}
    for read in reads(content):
        if read.text not in named and not read.lies_open():
            raise CorruptArtifact(f"it would read '{read.text}', which nothing here names")


def _is_shelf(path: Path) -> bool:
    return len(path.name) == 2 and path.is_dir() and not path.is_symlink()


def _stamp(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
