"""Checkpoints inside a long stage: the newest two, atomic and checked, without pickle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdrun.runtime.files import atomic_folder, sha256, store_errors

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Checkpoints", "flatten", "unflatten"]


class Checkpoints:
    """Checkpoints of the stage with one key, under ``root/key/``."""

    def __init__(self, root: Path, key: str) -> None:
        self.folder = Path(root) / key
        self.temporary = Path(root) / "tmp"

    def save(self, step: int, tensors: Mapping[str, Tensor], meta: Any) -> None:
        """Write the state at ``step``; keep it and the one before."""
        from safetensors.torch import save_file

        with store_errors(self.folder), atomic_folder(self.folder / f"{step:012d}", self.temporary) as folder:
            save_file(
                {n: t.detach().cpu().contiguous().clone() for n, t in tensors.items()}, folder / "state.safetensors"
            )
            (folder / "meta.json").write_text(json.dumps(meta))
            sums = {p.name: sha256(p) for p in folder.iterdir()}
            (folder / "checksums.json").write_text(json.dumps(sums))
        for old in self._steps()[:-2]:
            shutil.rmtree(old, ignore_errors=True)

    def _steps(self) -> list[Path]:
        return sorted(p for p in self.folder.iterdir() if p.name.isdigit()) if self.folder.is_dir() else []

    def latest(self) -> tuple[int, dict[str, Tensor], Any] | None:
        """The newest intact checkpoint as (step, tensors, meta), or None."""
        from safetensors.torch import load_file

        for folder in reversed(self._steps()):
            try:
                sums = json.loads((folder / "checksums.json").read_text())
                if all(sha256(folder / name) == digest for name, digest in sums.items()):
                    return (
                        int(folder.name),
                        load_file(folder / "state.safetensors"),
                        json.loads((folder / "meta.json").read_text()),
                    )
            except (OSError, ValueError):
                continue
        return None

    def clear(self) -> None:
        """Delete all: the stage is done."""
        shutil.rmtree(self.folder, ignore_errors=True)


def flatten(state: Any) -> tuple[dict[str, Tensor], Any]:
    """Split nested dicts, lists, tuples, tensors and JSON scalars into named tensors and JSON.

    Key types survive (optimizers number their parameters), and so do tuples and non-finite floats.
    """
    from torch import Tensor

    tensors: dict[str, Tensor] = {}

    def walk(value: Any) -> Any:
        if isinstance(value, Tensor):
            name = f"t{len(tensors)}"
            tensors[name] = value
            return {"t": name}
        if isinstance(value, Mapping):
            return {"d": [[k, walk(v)] for k, v in value.items()]}
        if isinstance(value, tuple):
            return {"u": [walk(v) for v in value]}
        if isinstance(value, list):
            return {"l": [walk(v) for v in value]}
        if value is None or isinstance(value, bool | int | float | str):
            return {"v": value}
        raise TypeError(f"a checkpoint cannot hold {type(value).__name__}")

    meta = walk(state)
    return tensors, meta


def unflatten(tensors: Mapping[str, Tensor], meta: Any) -> Any:
    """The inverse of ``flatten``."""
    ((kind, content),) = meta.items()
    if kind == "t":
        return tensors[content]
    if kind == "d":
        return {k: unflatten(tensors, v) for k, v in content}
    if kind == "u":
        return tuple(unflatten(tensors, v) for v in content)
    if kind == "l":
        return [unflatten(tensors, v) for v in content]
    return content
