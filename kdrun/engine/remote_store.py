"""A store that machines share without sharing a disk: ``s3://bucket/folder``, ``gs://…``, or ``file:///mnt/…`` for a mounted folder whose locks
do not reach other machines.

URL/objects/ab/abcdef.../     a result, as in a store on disk; the manifest comes last, and without it nothing is there
URL/leases/KEY/TOKEN          who is at a stage

Each machine reads through a folder of its own, a whole store: a result is fetched once, and checked as any other. Checkpoints stay on the
machine that wrote them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from kdrun.engine.manifest import MANIFEST, Manifest
from kdrun.engine.remote_leases import RemoteLease, held_by_other
from kdrun.engine.store import Store, default_root
from kdrun.errors import CorruptArtifact, KdrunError, StoreError, concealed
from kdrun.runtime.artifacts import Artifact
from kdrun.runtime.files import atomic_folder, ensure_folder, store_errors

__all__ = ["RemoteStore", "store_of"]

EXTRAS = {"s3": "s3", "gs": "gs", "gcs": "gs"}
"""Which of kdrun's extras brings what a protocol needs."""

ABSENT_SECONDS = 2.0
"""How long a result that was not there is taken not to be."""


def store_of(config: Mapping[str, Any]) -> Store:
    """The store of a configuration (``store``), by default that of this machine's user. Raises ``StoreError``."""
    root = str(config.get("store") or default_root())
    return RemoteStore(root) if "://" in root else Store(root)


class RemoteStore(Store):
    """A store behind a URL. Methods raise ``StoreError`` where it cannot be reached."""

    poll_seconds = 2.0

    def __init__(self, url: str) -> None:
        super().__init__(Path(default_root()) / "remote" / hashlib.sha256(url.encode()).hexdigest()[:16])
        self.url = url.rstrip("/")
        self.fs, self.place_there = _file_system(self.url)
        self._there: set[str] = set()
        self._absent: dict[str, float] = {}

    @property
    def address(self) -> str:
        return self.url

    def look_again(self) -> None:
        self._absent.clear()

    def contains(self, key: str) -> bool:
        if super().contains(key) or key in self._there:
            return True
        if time.monotonic() - self._absent.get(key, -ABSENT_SECONDS) < ABSENT_SECONDS:
            return False
        with self._reached():
            self.fs.invalidate_cache()
            found = bool(self.fs.exists(f"{self._folder(key)}/{MANIFEST}"))
        if found:
            self._there.add(key)
        else:
            self._absent[key] = time.monotonic()
        return found

    def write(self, key: str, fields: Mapping[str, Artifact], description: Mapping[str, Any]) -> None:
        super().write(key, fields, description)
        with self._reached():
            folder, there = self.place(key), self._folder(key)
            for file in sorted(folder.iterdir(), key=lambda path: (path.name == MANIFEST, path.name)):
                self.fs.put_file(str(file), f"{there}/{file.name}")
        self._there.add(key)

    def kinds(self, key: str) -> dict[str, str]:
        self._fetch(key)
        return super().kinds(key)

    def check(self, key: str) -> Manifest:
        self._fetch(key)
        return super().check(key)

    def read(self, key: str, fields: Iterable[str] | None = None) -> dict[str, Artifact]:
        self._fetch(key)
        return super().read(key, fields)

    def discard(self, key: str, reason: str = "") -> None:
        """Set aside what lies here, and take away what it was fetched from, which is computed again."""
        super().discard(key, reason)
        with self._reached(), contextlib.suppress(FileNotFoundError):  # another machine has done so
            self.fs.rm(self._folder(key), recursive=True)
        self._there.discard(key)

    @contextlib.contextmanager
    def lock(self, key: str, *, on_wait: Callable[[float], None] | None = None) -> Iterator[None]:
        with super().lock(key, on_wait=on_wait):
            lease = RemoteLease(self.fs, self._lease(key))
            with self._reached():
                if not lease.take():
                    if on_wait is not None:
                        on_wait(0.0)
                    lease.wait(self.poll_seconds)
            self._absent.pop(key, None)  # who had it may have left a result
            try:
                yield
            finally:
                lease.give_back()

    @contextlib.contextmanager
    def lock_if_free(self, key: str) -> Iterator[bool]:
        with super().lock_if_free(key) as free:
            lease = RemoteLease(self.fs, self._lease(key))
            with self._reached():
                free = free and lease.take()
            self.look_again()
            try:
                yield free
            finally:
                if free:
                    lease.give_back()

    def is_free(self, key: str) -> bool:
        with self._reached():
            return super().is_free(key) and not held_by_other(self.fs, self._lease(key))

    def _fetch(self, key: str) -> None:
        """Make a result that lies there lie here, too; what is there in part only is not."""
        if super().contains(key) or not self.contains(key):
            return
        with store_errors(self.root), self._reached():
            final = self.place(key)
            for folder in (self.root / "tmp", final.parent):
                ensure_folder(folder, self.root)
            try:
                names = [str(path).rpartition("/")[2] for path in self.fs.ls(self._folder(key), detail=False)]
                with atomic_folder(
                    final, self.root / "tmp", settled=self._settled, unsettled=self._unsettled
                ) as folder:
                    for name in filter(None, names):  # some clients leave an empty one where a folder was made
                        self.fs.get_file(f"{self._folder(key)}/{name}", str(folder / os.path.basename(name)))
            except FileNotFoundError as error:  # discarded by another machine since
                raise CorruptArtifact(f"{key[:10]} cannot be fetched ({error})") from None

    def _folder(self, key: str) -> str:
        return f"{self.place_there}/objects/{key[:2]}/{key}"

    def _lease(self, key: str) -> str:
        return f"{self.place_there}/leases/{key}"

    @contextlib.contextmanager
    def _reached(self) -> Iterator[None]:
        """What a client raises, as one line that names the store."""
        try:
            yield
        except KdrunError:
            raise
        except Exception as error:
            said = str(error).strip().partition("\n")[0]
            raise StoreError(
                concealed(f"the store {self.url} cannot be reached ({type(error).__name__}: {said})")
            ) from None


def _file_system(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the place of the store in it. Raises ``StoreError``."""
    from fsspec.core import url_to_fs

    protocol = url.partition("://")[0]
    more = {"auto_mkdir": True} if protocol in ("file", "local") else {}  # elsewhere to make folders may make buckets
    try:
        found, place = url_to_fs(url, use_listings_cache=False, skip_instance_cache=True, **more)
    except ImportError:
        extra = EXTRAS.get(protocol)
        how = f"pip install 'kdrun[{extra}]'" if extra else "install what fsspec needs for it"
        raise StoreError(f"a store at {protocol}:// needs a package that is not here: {how}") from None
    except ValueError as error:
        raise StoreError(f"the store {url} cannot be opened: {error}") from None
    return found, str(place).rstrip("/")
