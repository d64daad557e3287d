"""Writing that survives a crash: temporary names, fsync, rename; checksums; what stands in the way is set aside."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import stat
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from kdrun.errors import CorruptArtifact, StoreError, refusal

__all__ = [
    "REFUSALS",
    "Unsealed",
    "Unsettled",
    "atomic_folder",
    "clock",
    "ensure_file",
    "ensure_folder",
    "refuse_links",
    "sealed",
    "set_aside",
    "sha256",
    "store_errors",
    "unsealed",
    "verify",
    "write_file",
]

SETTLE_SECONDS = 1.0
"""How long results wait to be synced together."""

SYNCED_AT_ONCE = 16

CORRUPT = "corrupt"
"""The folder of a store that holds what was set aside, each with a file that says why."""


class Unsealed(ValueError):
    """A text that carries no seal."""


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def sealed(content: Mapping[str, Any]) -> bytes:
    """JSON, in the order given, whose last entry, ``seal``, is the checksum of every byte before it."""
    body = json.dumps(content, indent=1)[:-2].encode()
    return body + f',\n "seal": "{hashlib.sha256(body).hexdigest()}"\n}}'.encode()


def unsealed(raw: bytes) -> dict[str, Any]:
    """What ``sealed`` wrote, without the seal. Raises ``Unsealed`` where there is none, ``ValueError`` where it does not fit."""
    body, mark, rest = raw.rpartition(b',\n "seal": "')
    if not mark or len(rest) != 67 or rest[64:] != b'"\n}':
        raise Unsealed("no checksum of itself")
    if hashlib.sha256(body).hexdigest().encode() != rest[:64]:
        raise ValueError("its bytes differ from its own checksum")
    found = json.loads(body + b"\n}")
    if not isinstance(found, dict):
        raise ValueError("no mapping")
    return found


def verify(path: Path, expected: Mapping[str, Any], owner: str) -> None:
    """Compare a file with its size and checksum. Raises ``CorruptArtifact``, which names the file and its owner."""
    try:
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode):
            raise CorruptArtifact(f"{path.name} of {owner} is no file")
        if found.st_size != expected["bytes"]:
            raise CorruptArtifact(
                f"{path.name} of {owner} is corrupt ({found.st_size} bytes, expected {expected['bytes']})"
            )
        actual = sha256(path)
    except OSError as error:
        if error.errno in REFUSALS:
            raise
        raise CorruptArtifact(f"{path.name} of {owner} cannot be read ({error.strerror})") from None
    if actual != expected["sha256"]:
        raise CorruptArtifact(
            f"{path.name} of {owner} is corrupt (checksum {actual[:12]}, expected {expected['sha256'][:12]})"
        )


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_if_there(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        _sync(path)


class Unsettled:
    """What was renamed into place and is not on the disk for certain: files and folders, to be synced together.

    Until then a failure of power may leave a torn file, which its checksum tells: what it held is computed again.
    """

    def __init__(self) -> None:
        self._paths: dict[Path, None] = {}
        self._since = time.monotonic()

    def add(self, folder: Path) -> None:
        """Note a folder, all that is in it, and the one that it is in; sync what was noted if that was done a second ago or earlier."""
        for path in (*folder.iterdir(), folder, folder.parent):
            self._paths[path] = None
        if time.monotonic() - self._since > SETTLE_SECONDS:
            self.settle()

    def settle(self) -> None:
        """Sync all that was noted, many at a time, which the disk takes in one go; what is gone needs none."""
        paths, self._paths = list(self._paths), {}
        if paths:
            with ThreadPoolExecutor(min(len(paths), SYNCED_AT_ONCE)) as pool:
                list(pool.map(_sync_if_there, paths))
        self._since = time.monotonic()


def write_file(final: Path, content: bytes, temporary_root: Path) -> None:
    """Write a file in one rename; what stands there is replaced."""
    temporary = temporary_root / _temporary_name(final)
    try:
        temporary.write_bytes(content)
        _sync(temporary)
        os.replace(temporary, final)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _temporary_name(final: Path) -> str:
    return f"{final.name}.{uuid.uuid4().hex}"


@contextlib.contextmanager
def atomic_folder(
    final: Path, temporary_root: Path, *, settled: Callable[[Path], bool], unsettled: Unsettled | None = None
) -> Iterator[Path]:
    """Yield an empty folder that becomes ``final`` in one rename; on any error nothing is left of it.

    It is synced to the disk before the rename, or, with ``unsettled``, later and together with others.
    If something is there by then, ``settled`` says whether it is the whole result of another process, which stays;
    if it is not, ``settled`` has moved it away.
    """
    temporary = temporary_root / _temporary_name(final)
    temporary.mkdir()
    try:
        yield temporary
        if unsettled is None:
            for file in (*temporary.iterdir(), temporary):
                _sync(file)
        while not _renamed(temporary, final):
            if settled(final):
                shutil.rmtree(temporary, ignore_errors=True)
                break
        if unsettled is None:
            _sync(final.parent)
        else:
            unsettled.add(final)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _renamed(folder: Path, final: Path) -> bool:
    """Whether the rename went through; False if something is there."""
    try:
        os.rename(folder, final)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR) and os.path.lexists(final):
            return False
        raise
    return True


def refuse_links(path: Path, root: Path) -> None:
    """Raise ``StoreError`` for a link on the way from ``root`` to ``path``: what is written there would come to lie elsewhere."""
    for part in [path, *path.parents][: len(path.relative_to(root).parts)]:
        if part.is_symlink():
            raise StoreError(
                f"{part} is a link, and kdrun writes to no other place than {root}: delete it, or name another"
            )


def ensure_folder(path: Path, root: Path) -> Path:
    """Make ``path`` a folder below ``root``; whatever else stands on the way is set aside, links among it."""
    for part in [path, *path.parents][: len(path.relative_to(root).parts)][::-1]:
        if part.is_symlink() or (os.path.lexists(part) and not part.is_dir()):
            set_aside(part, root, "a folder is expected here")
    path.mkdir(parents=True, exist_ok=True)
    return path


def ensure_file(path: Path, root: Path) -> Path:
    """Make room for a file below ``root``: whatever else stands in its place is set aside."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISREG(path.lstat().st_mode):
            set_aside(path, root, "a file is expected here")
    return path


def set_aside(path: Path, root: Path, reason: str) -> Path | None:
    """Move a file or folder to ``root/corrupt``, for a look later; return where it is, or None if it is gone already."""
    place = root / CORRUPT
    refuse_links(place, root)
    if os.path.lexists(place) and not place.is_dir():
        os.rename(place, root / f"{CORRUPT}.{time.time_ns()}")
    place.mkdir(parents=True, exist_ok=True)
    target = place / f"{path.name}.{uuid.uuid4().hex[:12]}"
    try:
        os.rename(path, target)
    except FileNotFoundError:
        return None
    with contextlib.suppress(OSError):  # the reason is a service; a full disk does not keep damage in its place
        target.with_name(f"{target.name}.reason.txt").write_text(f"{path.relative_to(root)}: {reason}\n")
    return target


def clock(folder: Path) -> float:
    """The time (seconds) by the file system that holds ``folder``: machines that share it may differ in theirs."""
    probe = folder / f"clock.{uuid.uuid4().hex}"
    probe.write_bytes(b"kdrun")
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


REFUSALS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""What the system refuses though the file may be whole."""


@contextlib.contextmanager
def store_errors(root: Path) -> Iterator[None]:
    """Turn an operating system's refusal into one line that says what to do."""
    full = f"the disk of the store {root} is full: free some space (kdrun gc), or set store=FOLDER or KDRUN_STORE"
    try:
        yield
    except Exception as error:
        refused = refusal(error)
        if refused is None:
            raise
        if refused.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreError(full) from None
        written = refused.errno in (*REFUSALS[:3], errno.ENOTDIR, errno.EEXIST, errno.EFBIG)
        what = "cannot be written" if written else "cannot be used"
        raise StoreError(f"the store {root} {what} ({refused.strerror}): set store=FOLDER or KDRUN_STORE") from None
