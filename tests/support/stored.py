"""What lies in a store, to be compared with another."""

from __future__ import annotations

import hashlib
from pathlib import Path

__all__ = ["stored"]


def stored(store: Path) -> dict[str, str]:
    """Hashes of all weights and tables in a store, by key and file."""
    found = {}
    for path in sorted((store / "objects").rglob("*")):
        if path.suffix in (".safetensors", ".parquet"):
            found[path.relative_to(store).as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found
