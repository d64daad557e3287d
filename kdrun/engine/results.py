"""From what a part returns to artifacts, and from artifacts to what a reference stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kdrun.engine.sources import Sources, entry
from kdrun.errors import InputError
from kdrun.grammar.nodes import Node, Ref
from kdrun.graph.types import fields_of_node
from kdrun.runtime.artifacts import Artifact, Data, Table, Tensors, Value

if TYPE_CHECKING:
    from kdrun.data.dataset import Dataset

__all__ = ["Result", "as_result", "value_of"]

Result = dict[str, Artifact]


def value_of(ref: Ref, node: Node, result: Result, sources: Sources) -> Any:
    """What a reference to a stage stands for: a model artifact, a data set, tensors, rows or a plain value.

    Raises ``InputError`` for a field that the result has not.
    """
    name, rest = _split(ref.field, result, fields_of_node(node).main)
    artifact = result.get(name)
    if artifact is None:
        known = ", ".join(k for k in result if k)
        raise InputError(f"'{node.name}' has no field '{'.'.join(ref.field)}'; it has: {known}", key=node.key)
    value: Any = artifact
    if isinstance(artifact, Tensors):
        value = artifact.values[""] if set(artifact.values) == {""} else artifact.values
    elif isinstance(artifact, Data):
        value = sources.dataset(artifact)
    elif isinstance(artifact, Table):
        value = artifact.rows
    elif isinstance(artifact, Value):
        value = artifact.value
    return entry(value, rest, key=node.key)


def _split(field: tuple[str, ...], result: Result, main: str) -> tuple[str, tuple[str, ...]]:
    """The longest prefix of ``field`` that names an artifact, and what is left to look up inside it."""
    for cut in range(len(field), 0, -1):
        name = ".".join(field[:cut])
        if name in result:
            return name, field[cut:]
    return main, field


def as_result(returned: Any, context: Any) -> Result:
    """Turn what a part returned into artifacts."""
    from torch import Tensor, nn

    from kdrun.data.dataset import Dataset

    if isinstance(returned, Tensor):
        return {"": Tensors({"": returned.detach().cpu()})}
    if isinstance(returned, nn.Module):
        return {"": context.model(returned)}
    if isinstance(returned, Dataset):
        return {"": _data_artifact(returned)}
    if isinstance(returned, list) and returned and all(_is_data(one) for one in returned):
        return _parts(returned)
    if isinstance(returned, list):
        return {"": Table(returned)}
    if isinstance(returned, dict) and returned and all(isinstance(v, Tensor) for v in returned.values()):
        return {"": Tensors({k: v.detach().cpu() for k, v in returned.items()})}
    if isinstance(returned, dict) and all(isinstance(v, Artifact) for v in returned.values()):
        return returned
    if isinstance(returned, dict):
        return {name: as_result(value, context)[""] for name, value in returned.items()}
    return {"": Value(returned)}


def _parts(parts: list[Any]) -> Result:
    """A partition's data sets by number, or by number and name: ``0.train``."""
    found: Result = {}
    for i, one in enumerate(parts):
        for name, data in one.items() if isinstance(one, dict) else [("", one)]:
            found[f"{i}.{name}" if name else str(i)] = _data_artifact(data)
    return found


def _is_data(one: Any) -> bool:
    from kdrun.data.dataset import Dataset

    return isinstance(one, Dataset) or (isinstance(one, dict) and all(isinstance(v, Dataset) for v in one.values()))


def _data_artifact(data: Dataset) -> Data:
    if data.origin is None:
        return Data({}, "", None, data.rows(), data.info.classes)
    source, split = data.origin
    columns = {name: data.column(name) for name in sorted(data.changed)}
    index = data.positions if hasattr(data, "positions") else data.column("index")
    return Data(dict(source), split, index, columns, data.info.classes)
