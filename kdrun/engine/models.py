"""The models that a run made: where each lies in the store, and what it reads."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from kdrun.engine.session import Session
from kdrun.engine.sources import entry
from kdrun.errors import KdrunError
from kdrun.grammar.nodes import Graph, Node, Ref
from kdrun.graph.check import ENGINE_KEYS
from kdrun.graph.types import fields_of_node, part_of
from kdrun.models.building import INPUT_COLUMNS

__all__ = ["models_of"]

PREPARATION = ("mean", "std", "resize", "background")
"""What a data part may say of how it prepares images."""


def models_of(session: Session) -> dict[str, dict[str, Any]]:
    """By stage, of those whose result is in the store: its ``key``, its ``models`` by field, the ``main`` one, and its ``input``.

    ``input`` tells the column that the models read, its shape and dtype, the mask beside it, names of classes and how images are prepared (mean, deviation, …), as
    far as they are known.
    """
    found = {}
    for node in session.graph.stages():
        key = session.keys[node.name]
        with contextlib.suppress(KdrunError):
            kinds = session.store.kinds(key) if session.store.contains(key) else {}
            models = sorted(field for field, kind in kinds.items() if kind == "model")
            if models:
                read = _input_of(node, session.graph)
                found[node.name] = {"key": key, "models": models, "main": fields_of_node(node).main, "input": read}
    return found


def _input_of(node: Node, graph: Graph) -> dict[str, Any]:
    """What is said of the data that a stage's models read, without loading them; empty where nothing is known."""
    from kdrun.models.masks import mask_column

    ref = next(_data_behind(node, graph, set()), None)
    if ref is None:
        return {}
    source = graph.nodes[ref.name]
    options = {k: v for k, v in source.params.items() if k not in ENGINE_KEYS["data"]}
    try:
        part = part_of(source).load()(**options)
        info = _first(entry(part.info(), ref.field))
    except (KdrunError, ImportError, OSError, LookupError, TypeError, ValueError):  # data that are no longer there
        return {}
    name = next((c for c in INPUT_COLUMNS if c in info.columns), None)
    if name is None:
        return {}
    column = info.columns[name]
    told = {"column": name, "shape": list(column.shape), "dtype": str(column.dtype).removeprefix("torch.")}
    mask = mask_column(info.columns, name)
    told.update({"mask": mask} if mask is not None else {})
    names = {"classes": list(info.class_names)} if info.class_names is not None else {}
    told.update(_answers(info))
    prepared = {word: getattr(part, word, None) for word in PREPARATION}
    return {**told, **names, **{word: _plain(value) for word, value in prepared.items() if value is not None}}


def _answers(info: Any) -> dict[str, Any]:
    """What the model's outputs are, where they are no classes: labels that hold or not, or values with the unit that they are in."""
    if "target_mean" in info.extra:
        return {"answers": "values", **{word: _plain(info.extra[word]) for word in ("target_mean", "target_std")}}
    label = info.columns.get("label")
    return {"answers": "labels"} if label is not None and label.shape and label.dtype.is_floating_point else {}


def _plain(value: Any) -> Any:
    """A number, or the numbers of any sequence as a list."""
    return value if isinstance(value, int | float) else [float(number) for number in value]


def _first(value: Any) -> Any:
    """What is known of data, or of the first of several."""
    while isinstance(value, Mapping | list):
        value = value[0] if isinstance(value, list) else next(iter(value.values()))
    return value


def _data_behind(node: Node, graph: Graph, seen: set[str]) -> Iterator[Ref]:
    """References to declared data that a stage reads, its ``data`` first, or that what it reads was made from."""
    refs = list(node.refs())
    if isinstance(node.inputs, dict) and isinstance(own := node.inputs.get("data"), Ref):
        refs = [own, *refs]
    for ref in refs:
        read = graph.nodes[ref.name]
        if read.verb == "data":
            yield ref
        elif ref.name not in seen:
            seen.add(ref.name)
            yield from _data_behind(read, graph, seen)
