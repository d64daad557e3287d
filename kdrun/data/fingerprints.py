"""What a stage's key knows of files that a data set reads, and numbers that depend on a file's name alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from kdrun.config.places import refuse_links_out

__all__ = ["fingerprint_of", "share_of"]


def fingerprint_of(paths: Iterable[Path], root: Path) -> str:
    """A hash of the files' names below ``root``, sizes and times of change, in this order; no content is read.

    Files that are not there count, too: the hash changes when they come. Raises ``InputError`` for one behind a link that leads out.
    """
    digest, paths = hashlib.sha256(), list(paths)
    refuse_links_out(paths, root)
    for path in paths:
        name = path.relative_to(root) if path.is_relative_to(root) else path.name
        stat = path.stat() if path.is_file() else None
        digest.update(f"{name}\0{stat and (stat.st_size, stat.st_mtime_ns)}\n".encode())
    return digest.hexdigest()


def share_of(name: str) -> float:
    """A number in [0, 1) for a name, evenly spread: a file stays in its split when others are added."""
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) / 16**8
