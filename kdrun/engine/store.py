"""The store: results of stages by key, written atomically, checked on reading, never unpickled.

objects/ab/abcdef.../manifest.json     fields, files, checksums
objects/ab/abcdef.../*.safetensors     weights and tensors
objects/ab/abcdef.../*.parquet         tables
locks/  checkpoints/  tmp/  corrupt/
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdrun.errors import CorruptArtifact, StoreError
from kdrun.runtime.artifacts import Artifact, Data, Model, Table, Tensors, Value
from kdrun.runtime.files import atomic_folder, remove_leftovers, sha256, store_errors

__all__ = ["Entry", "Store", "arrow_table", "default_root"]

FORMAT = 1


def default_root() -> str:
    """``KDRUN_STORE``, else ``~/.cache/kdrun``."""
    return os.environ.get("KDRUN_STORE") or os.path.expanduser("~/.cache/kdrun")


@dataclass(frozen=True)
class Entry:
    """One stored result: its key, what it is, its size in bytes and when it was written (seconds)."""

    key: str
    description: Mapping[str, Any]
    bytes: int
    created: float


class Store:
    """A folder of results by key. Methods raise ``StoreError`` when the disk refuses."""

    def __init__(self, root: str | Path) -> None:
        if "://" in str(root):
            raise StoreError(f"the store is a folder on this machine or on a mounted disk; got {root}")
        self.root = Path(root).expanduser()
        self._verified: dict[str, tuple[int, int]] = {}

    def prepare(self) -> None:
        """Make sure that the store can be written, and tidy up what dead processes left."""
        with store_errors(self.root):
            for name in ("objects", "locks", "tmp"):
                try:
                    (self.root / name).mkdir(parents=True, exist_ok=True)
                except FileNotFoundError as error:  # a place that holds no folders of ours
                    raise StoreError(
                        f"the store {self.root} cannot be made ({error.strerror}): set store=FOLDER or KDRUN_STORE"
                    ) from None
            probe = self.root / "tmp" / f"probe-{os.getpid()}"
            probe.write_bytes(b"kdrun")
            probe.unlink()
        remove_leftovers(self.root / "tmp")

    def _folder(self, key: str) -> Path:
        return self.root / "objects" / key[:2] / key

    def contains(self, key: str) -> bool:
        """Whether a complete result is there."""
        return (self._folder(key) / "manifest.json").is_file()

    def kinds(self, key: str) -> dict[str, str]:
        """What a complete result holds: by field, ``model``, ``tensors``, ``table``, ``data`` or ``value``."""
        return {name: described["type"] for name, described in self._manifest(self._folder(key), key)["fields"].items()}

    def write(self, key: str, fields: Mapping[str, Artifact], description: Mapping[str, Any]) -> None:
        """Store the result of a stage: all of it, or nothing."""
        with store_errors(self.root), atomic_folder(self._folder(key), self.root / "tmp") as folder:
            described = {
                name: _save(artifact, f"{i}", folder) for i, (name, artifact) in enumerate(sorted(fields.items()))
            }
            files = {p.name: {"sha256": sha256(p), "bytes": p.stat().st_size} for p in sorted(folder.iterdir())}
            manifest = {
                "format": FORMAT,
                "key": key,
                "description": dict(description),
                "fields": described,
                "files": files,
            }
            (folder / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True))

    def read(self, key: str, fields: Iterable[str] | None = None) -> dict[str, Artifact]:
        """Read a result, or some fields of it. Raises ``CorruptArtifact`` if bytes differ from what was written."""
        folder = self._folder(key)
        manifest = self._manifest(folder, key)
        wanted = manifest["fields"] if fields is None else {n: manifest["fields"][n] for n in fields}
        found = {}
        for name, described in wanted.items():
            for file in described["files"]:
                self._verify(folder / file, manifest["files"][file], key)
            found[name] = _load(described, folder)
        return found

    def _manifest(self, folder: Path, key: str) -> dict[str, Any]:
        try:
            manifest = json.loads((folder / "manifest.json").read_text())
            if manifest["format"] != FORMAT or manifest["key"] != key:
                raise ValueError("another format or key")
        except (OSError, ValueError, KeyError) as error:
            raise CorruptArtifact(f"the manifest of {key[:10]} cannot be read ({error})") from None
        return manifest

    def _verify(self, path: Path, expected: Mapping[str, Any], key: str) -> None:
        """Compare a file with its checksum, once for each state of the file in this process."""
        try:
            stat = path.stat()
            stamp = (stat.st_mtime_ns, stat.st_size)
            if self._verified.get(str(path)) == stamp:
                return
            actual = sha256(path)
        except OSError as error:
            raise CorruptArtifact(f"{path.name} of {key[:10]} cannot be read ({error.strerror})") from None
        if actual != expected["sha256"]:
            raise CorruptArtifact(
                f"{path.name} of {key[:10]} is corrupt (checksum {actual[:12]}, expected {expected['sha256'][:12]})"
            )
        self._verified[str(path)] = stamp

    def discard(self, key: str, reason: str = "") -> None:
        """Move a corrupt result out of the way, for a look later."""
        with store_errors(self.root):
            target = self.root / "corrupt" / f"{key}.{time.time_ns()}"
            target.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                os.rename(self._folder(key), target)
                (target / "reason.txt").write_text(reason)

    @contextlib.contextmanager
    def lock(self, key: str, *, on_wait: Callable[[float], None] | None = None) -> Iterator[None]:
        """Hold the lock of a key: of several processes that want a stage, one computes it and the others wait.

        ``on_wait`` is called once if the lock is taken. The system frees the lock of a process that dies.
        """
        from filelock import FileLock, Timeout

        path = self.root / "locks" / f"{key}.lock"
        with store_errors(self.root):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(str(path))
            try:
                lock.acquire(timeout=0)
            except Timeout:
                if on_wait is not None:
                    on_wait(0.0)
                lock.acquire(poll_interval=0.1)
        try:
            yield
        finally:
            lock.release()

    def entries(self) -> Iterator[Entry]:
        """All complete results."""
        for path in sorted((self.root / "objects").glob("*/*/manifest.json")):
            try:
                manifest = json.loads(path.read_text())
            except (OSError, ValueError):
                continue
            size = sum(f["bytes"] for f in manifest["files"].values())
            yield Entry(manifest["key"], manifest["description"], size, path.stat().st_mtime)

    def clean(self, *, older_than_days: float) -> int:
        """Delete results and leftovers older than so many days; return the bytes freed."""
        limit = time.time() - older_than_days * 86400
        freed = 0
        for entry in list(self.entries()):
            if entry.created < limit:
                shutil.rmtree(self._folder(entry.key), ignore_errors=True)
                freed += entry.bytes
        remove_leftovers(self.root / "tmp")
        shutil.rmtree(self.root / "corrupt", ignore_errors=True)
        return freed


def _save(artifact: Artifact, stem: str, folder: Path) -> dict[str, Any]:
    """Write one artifact's files; return its entry in the manifest."""
    if isinstance(artifact, Model):
        meta = {"spec": dict(artifact.spec), "trained": artifact.state is not None}
        return _entry("model", meta, _tensors(artifact.state or {}, folder / f"{stem}.safetensors"))
    if isinstance(artifact, Tensors):
        names = {f"t{i}": name for i, name in enumerate(artifact.values)}
        named = {f"t{i}": value for i, value in enumerate(artifact.values.values())}
        return _entry("tensors", {"names": names}, _tensors(named, folder / f"{stem}.safetensors"))
    if isinstance(artifact, Table):
        return _entry("table", {}, _parquet(artifact.rows, folder / f"{stem}.parquet"))
    if isinstance(artifact, Data):
        tensors = {f"column.{n}": c for n, c in artifact.columns.items()}
        if artifact.indices is not None:
            tensors["indices"] = artifact.indices
        meta = {"source": dict(artifact.source), "split": artifact.split, "classes": artifact.classes}
        return _entry("data", meta, _tensors(tensors, folder / f"{stem}.safetensors"))
    if isinstance(artifact, Value):
        return _entry("value", {"value": artifact.value}, [])
    raise TypeError(f"a stage returned {type(artifact).__name__}, which the store cannot hold")


def _entry(kind: str, meta: dict[str, Any], files: list[str]) -> dict[str, Any]:
    return {"type": kind, "meta": meta, "files": files}


def _tensors(tensors: Mapping[str, Any], path: Path) -> list[str]:
    from safetensors.torch import save_file

    # A clone: tied weights share memory, which the format refuses.
    save_file({name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}, path)
    return [path.name]


def arrow_table(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Rows of scalars as a ``pyarrow.Table``, with None where a row lacks a column."""
    import pyarrow as pa

    names = list(dict.fromkeys(name for row in rows for name in row))
    return pa.table({name: pa.array([row.get(name) for row in rows]) for name in names})


def _parquet(rows: list[dict[str, Any]], path: Path) -> list[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = arrow_table(rows)
    if not table.num_columns:
        table = pa.table({"empty": pa.array([None] * len(rows), pa.null())})
    pq.write_table(table, path, compression="zstd")
    return [path.name]


def _load(described: Mapping[str, Any], folder: Path) -> Artifact:
    kind, meta = described["type"], described["meta"]
    if kind == "value":
        return Value(meta["value"])
    path = folder / described["files"][0]
    if kind == "table":
        import pyarrow.parquet as pq

        table = pq.read_table(path)
        return Table([{k: v for k, v in row.items() if k != "empty"} for row in table.to_pylist()])
    from safetensors.torch import load_file

    tensors = load_file(path)
    if kind == "model":
        return Model(meta["spec"], tensors if meta["trained"] else None)
    if kind == "tensors":
        return Tensors({name: tensors[stored] for stored, name in meta["names"].items()})
    columns = {n.removeprefix("column."): t for n, t in tensors.items() if n.startswith("column.")}
    return Data(meta["source"], meta["split"], tensors.get("indices"), columns, meta["classes"])
