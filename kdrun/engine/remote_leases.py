"""Locks in an object store or a shared folder, where no machine's own locks reach: leases, which end with who holds them.

``leases/KEY/TOKEN`` is the lease of one holder, written again every few seconds. Who wants a key writes a lease and has it if a listing
then shows no other one; else it takes its own away and tries again later. So two that want it at once may both go away empty-handed, and
never both have it: whoever wrote second sees the first. That asks of the store that a listing shows what was written before it, as S3,
Google Cloud Storage and local disks promise. A lease that nobody has renewed for ``STALE_SECONDS`` by the store's clock is that of a
dead machine, and whoever comes takes it away.
"""

from __future__ import annotations

import contextlib
import datetime
import random
import threading
import time
import uuid
from collections.abc import Mapping
from typing import Any

__all__ = ["RENEWAL_SECONDS", "STALE_SECONDS", "RemoteLease", "held_by_other"]

STALE_SECONDS = 90.0
RENEWAL_SECONDS = 15.0

TIMES = ("LastModified", "mtime", "updated", "last_modified", "created")
"""What file systems of fsspec call the time of the last change in a listing."""


class RemoteLease:
    """The lease of one key, wanted by this thread. ``folder`` is the place of its leases in the file system ``fs``."""

    def __init__(self, fs: Any, folder: str) -> None:
        self.fs, self.folder = fs, folder
        self.path = f"{folder}/{uuid.uuid4().hex}"
        self._over = threading.Event()
        self._renewing: threading.Thread | None = None

    def take(self) -> bool:
        """Whether nobody else has the key: then it is held, and renewed, until ``give_back``."""
        if held_by_other(self.fs, self.folder):
            return False
        self._write()
        alone = not self._others()
        if not alone:
            self._remove()
            return False
        self._renewing = threading.Thread(target=self._renew, daemon=True)
        self._renewing.start()
        return True

    def wait(self, poll_seconds: float) -> None:
        """Take it as soon as nobody else has it."""
        while not self.take():
            time.sleep(poll_seconds * random.uniform(0.5, 1.5))  # else two that want it meet again

    def give_back(self) -> None:
        """Let go; a lease that cannot be taken away ends by itself."""
        self._over.set()
        if self._renewing is not None:
            self._renewing.join()
        self._remove()

    def _write(self) -> None:
        self.fs.pipe_file(self.path, b"kdrun")

    def _others(self) -> list[str]:
        """Leases of others that are not stale; those that are go. This one's own time is the store's time of now."""
        found = _listed(self.fs, self.folder)
        own = found.pop(self._name(self.path), None)
        for name, changed in list(found.items()):
            if own is not None and own - changed > STALE_SECONDS:
                with contextlib.suppress(FileNotFoundError):
                    self.fs.rm_file(f"{self.folder}/{name}")
                del found[name]
        return list(found)

    def _renew(self) -> None:
        while not self._over.wait(RENEWAL_SECONDS):
            with contextlib.suppress(Exception):  # a failure of the network: the next one may come through
                self.fs.pipe_file(self.path, b"kdrun")

    def _remove(self) -> None:
        with contextlib.suppress(Exception):
            self.fs.rm_file(self.path)

    @staticmethod
    def _name(path: str) -> str:
        return path.rpartition("/")[2]


def held_by_other(fs: Any, folder: str) -> bool:
    """Whether somebody has written a lease of late, by the clock of this machine, give or take that of the store."""
    return any(time.time() - changed < STALE_SECONDS for changed in _listed(fs, folder).values())


def _listed(fs: Any, folder: str) -> dict[str, float]:
    """Names of leases, and when they were last renewed (seconds)."""
    fs.invalidate_cache()
    try:
        found = fs.ls(folder, detail=True)
    except FileNotFoundError:
        return {}
    return {str(one["name"]).rpartition("/")[2]: _changed(one) for one in found if one["type"] == "file"}


def _changed(one: Mapping[str, Any]) -> float:
    value: Any = next((one[name] for name in TIMES if one.get(name) is not None), 0.0)
    if isinstance(value, str):
        value = datetime.datetime.fromisoformat(value.replace("Z", "+00:00"))
    return float(value.timestamp() if isinstance(value, datetime.datetime) else value)
