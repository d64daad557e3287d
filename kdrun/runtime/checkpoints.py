"""Checkpoints inside a long stage: the newest two, atomic and checked, without pickle."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdrun.errors import CorruptArtifact
from kdrun.runtime.files import atomic_folder, ensure_folder, sealed, sha256, store_errors, unsealed, verify

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Checkpoints", "flatten", "unflatten"]

State = tuple[int, dict[str, "Tensor"], Any]
"""The step, the tensors, and what else belongs to them."""


class Checkpoints:
    """Checkpoints of the stage with one key, under ``root/key/``. ``tell`` hears of those that are damaged.

    ``root/key/000000000700/`` holds ``state.safetensors``, ``meta.json`` and ``checksums.json``: the key, the step and the
    checksums of the other two, sealed. Methods raise ``StoreError`` when the disk refuses.
    """

    def __init__(self, root: Path, key: str, tell: Callable[[str], None] = lambda text: None) -> None:
        self.root, self.key, self.tell = Path(root), key, tell
        self.folder = self.root / key

    def save(self, step: int, tensors: Mapping[str, Tensor], meta: Any) -> None:
        """Write the state at ``step``; keep it and the one before."""
        from safetensors.torch import save_file

        with store_errors(self.root):
            temporary = ensure_folder(self.root / "tmp", self.root)
            final = ensure_folder(self.folder, self.root) / f"{step:012d}"
            with atomic_folder(final, temporary, settled=self._settled) as folder:
                save_file(
                    {n: t.detach().cpu().contiguous().clone() for n, t in tensors.items()}, folder / "state.safetensors"
                )
                (folder / "meta.json").write_text(json.dumps(meta))
                files = {p.name: {"sha256": sha256(p), "bytes": p.stat().st_size} for p in folder.iterdir()}
                (folder / "checksums.json").write_bytes(sealed({"key": self.key, "step": step, "files": files}))
        for old in self._steps()[:-2]:
            shutil.rmtree(old, ignore_errors=True)

    def _settled(self, folder: Path) -> bool:
        try:
            self._read(folder)
        except CorruptArtifact:
            _remove(folder)
            return False
        return True

    def _steps(self) -> list[Path]:
        """The checkpoints by step, whole or not."""
        return sorted(p for p in self.folder.iterdir() if p.name.isdigit()) if self.folder.is_dir() else []

    def latest(self) -> State | None:
        """The newest intact checkpoint as (step, tensors, meta), or None; damaged ones are told and deleted."""
        with store_errors(self.root):
            for folder in reversed(self._steps()):
                try:
                    return self._read(folder)
                except CorruptArtifact as error:
                    self.tell(f"{error}; going on from the one before, or from the start")
                    _remove(folder)
        return None

    def damaged(self) -> Iterator[CorruptArtifact]:
        """Why each checkpoint that is not whole would not be gone on from."""
        for folder in self._steps():
            try:
                self._read(folder)
            except CorruptArtifact as error:
                yield error

    def _read(self, folder: Path) -> State:
        """Raises ``CorruptArtifact`` for anything that this stage did not write at this step."""
        from safetensors.torch import load_file

        name = f"the checkpoint {folder.name} of {self.key[:10]}"
        try:
            content = unsealed((folder / "checksums.json").read_bytes())
            if content["key"] != self.key or f"{content['step']:012d}" != folder.name:
                raise CorruptArtifact(f"{name} belongs to another stage or step")
            for file in ("state.safetensors", "meta.json"):
                verify(folder / file, content["files"][file], name)
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise CorruptArtifact(f"{name} cannot be read ({error})") from None
        state = load_file(folder / "state.safetensors")
        return content["step"], state, json.loads((folder / "meta.json").read_text())

    def clear(self) -> None:
        """Delete all: the stage is done."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _remove(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):  # another process has done it
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


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
