"""The manifest of a stored result: its format, key, fields, and the checksum of every file, its own among them.

Format 1 has no checksum of itself; it is still read. A newer format than this version knows is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdrun.errors import CorruptArtifact, StoreError
from kdrun.runtime.files import REFUSALS, Unsealed, sealed, sha256, unsealed

__all__ = ["FORMAT", "MANIFEST", "Manifest", "manifest_of", "read_manifest"]

FORMAT = 2
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Manifest:
    """``fields`` map names to type, meta and files; ``files`` map names to ``sha256`` and ``bytes``."""

    key: str
    description: Mapping[str, Any]
    fields: Mapping[str, Mapping[str, Any]]
    files: Mapping[str, Mapping[str, Any]]
    format: int = FORMAT

    @property
    def bytes(self) -> int:
        """The size of all files but the manifest."""
        return sum(file["bytes"] for file in self.files.values())


def manifest_of(
    key: str, description: Mapping[str, Any], fields: Mapping[str, Mapping[str, Any]], folder: Path
) -> bytes:
    """The manifest of what lies in ``folder``, as it is written."""
    files = {p.name: {"sha256": sha256(p), "bytes": p.stat().st_size} for p in sorted(folder.iterdir())}
    content = {"format": FORMAT, "key": key, "description": dict(description), "fields": dict(fields), "files": files}
    return sealed(content)


def read_manifest(folder: Path) -> Manifest:
    """The manifest in a folder that is named by its key.

    Raises ``CorruptArtifact`` for one that is not there, damaged or of another key, ``StoreError`` for a newer format.
    """
    owner = folder.name[:10]
    if folder.is_symlink() or (folder / MANIFEST).is_symlink():
        raise CorruptArtifact(f"the place of {owner} is a link")
    try:
        content = _content((folder / MANIFEST).read_bytes())
        manifest = Manifest(
            content["key"], content["description"], content["fields"], content["files"], content["format"]
        )
        _check(manifest)
    except OSError as error:
        if error.errno in REFUSALS:
            raise
        raise CorruptArtifact(f"the manifest of {owner} cannot be read ({error.strerror})") from None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptArtifact(f"the manifest of {owner} is corrupt ({error})") from None
    if manifest.key != folder.name:
        raise CorruptArtifact(f"the manifest of {owner} is that of another result, {manifest.key[:10]}")
    return manifest


def _content(raw: bytes) -> dict[str, Any]:
    """What a manifest says; its format is one that is known."""
    try:
        content, known = unsealed(raw), (FORMAT,)
    except Unsealed:
        content, known = json.loads(raw), (1,)
    found = content["format"]
    if isinstance(found, int) and found > FORMAT:
        raise StoreError(
            f"the store holds results of format {found}, written by a newer kdrun (this one reads up to {FORMAT}): "
            "upgrade, or set store=FOLDER or KDRUN_STORE"
        )
    if found not in known:
        raise ValueError("no checksum of itself" if found == FORMAT else f"format {found!r}")
    return content


def _check(manifest: Manifest) -> None:
    """Raises ``ValueError`` or ``TypeError`` for a manifest that nobody wrote here, before any file of it is opened."""
    if not isinstance(manifest.key, str):
        raise TypeError("its key is no text")
    for name, file in manifest.files.items():
        if name in ("", ".", "..", MANIFEST) or "/" in name or "\\" in name:
            raise ValueError(f"it names the file {name!r}")
        if not isinstance(file["bytes"], int) or not isinstance(file["sha256"], str):
            raise TypeError(f"size and checksum of {name}")
    for name, field in manifest.fields.items():
        if not set(field["files"]) <= set(manifest.files):
            raise ValueError(f"it has no checksum for the files of '{name}'")
        _ = field["type"], field["meta"]
