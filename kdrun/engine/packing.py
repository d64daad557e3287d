"""From artifacts to files and back: tensors as safetensors, tables as Parquet, plain values in the manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kdrun.runtime.artifacts import Artifact, Data, Model, Table, Tensors, Value

__all__ = ["arrow_table", "load", "save"]


def save(artifact: Artifact, stem: str, folder: Path) -> dict[str, Any]:
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


def load(described: Mapping[str, Any], folder: Path) -> Artifact:
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
