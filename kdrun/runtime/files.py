"""Writing that survives a crash: temporary names, fsync, rename; and checksums."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from kdrun.errors import StoreError

__all__ = ["atomic_folder", "remove_leftovers", "sha256", "store_errors"]


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def atomic_folder(final: Path, temporary_root: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes ``final`` in one rename; on any error nothing is left of it.

    If ``final`` exists by then, another process has won: its folder stays.
    """
    temporary = temporary_root / f"{final.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}"
    temporary.mkdir(parents=True)
    try:
        yield temporary
        for file in temporary.iterdir():
            _sync(file)
        _sync(temporary)
        final.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.rename(temporary, final)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            shutil.rmtree(temporary, ignore_errors=True)
        _sync(final.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def remove_leftovers(temporary_root: Path) -> int:
    """Delete temporary folders of processes that are gone; return how many."""
    removed = 0
    for path in temporary_root.glob("*.*.*") if temporary_root.is_dir() else ():
        pid = path.name.split(".")[-2]
        if pid.isdigit() and not _alive(int(pid)):
            shutil.rmtree(path, ignore_errors=True)
            removed += 1
    return removed


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextlib.contextmanager
def store_errors(root: Path) -> Iterator[None]:
    """Turn an operating system's refusal to write into one line that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise StoreError(
                f"the disk of the store {root} is full: free some space, or set store=FOLDER or KDRUN_STORE"
            ) from None
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            raise StoreError(
                f"the store {root} cannot be written ({error.strerror}): set store=FOLDER or KDRUN_STORE"
            ) from None
        raise
    except Exception as error:
        # safetensors and pyarrow wrap the system's error in their own.
        if "No space left" in str(error) or "os error 28" in str(error):
            raise StoreError(
                f"the disk of the store {root} is full: free some space, or set store=FOLDER or KDRUN_STORE"
            ) from None
        raise
