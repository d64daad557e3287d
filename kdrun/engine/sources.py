"""Data sources of a run: loaded once, and found again for rows that a stage has chosen from them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kdrun.errors import InputError, KdrunError, nearest
from kdrun.grammar.nodes import Node, parse_node
from kdrun.graph.check import ENGINE_KEYS
from kdrun.graph.types import part_of
from kdrun.registry import catalog
from kdrun.runtime.artifacts import Data

if TYPE_CHECKING:
    from kdrun.data.dataset import Dataset

__all__ = ["Sources", "entry"]


class Sources:
    """Data sources by what their nodes say. Runs that share one load each source once."""

    def __init__(self) -> None:
        self._loaded: dict[str, Mapping[str, Any]] = {}

    def splits(self, node: Node) -> Mapping[str, Any]:
        """The splits of a data node; those to train on carry the configured augmentation."""
        source = {"data": node.part, **node.params}
        label = json.dumps(source, sort_keys=True, default=str)
        if label not in self._loaded:
            transforms = tuple(_transform(t) for t in node.params.get("augment") or [])
            self._loaded[label] = {n: _declared(d, n, transforms, source) for n, d in _load(node).items()}
        return self._loaded[label]

    def dataset(self, artifact: Data) -> Dataset:
        """The rows that a stage has chosen or changed."""
        from kdrun.data.dataset import Column, DataInfo, MemoryDataset

        if not artifact.source:
            columns = {n: Column(tuple(c.shape[1:]), c.dtype) for n, c in artifact.columns.items()}
            return MemoryDataset(artifact.columns, DataInfo(columns, classes=artifact.classes))
        node = parse_node("data", dict(artifact.source), key="data", verbs=("data",))
        base = entry(self.splits(node), artifact.split.split("."))
        if artifact.indices is not None:
            base = base.select(artifact.indices)
        return base.with_columns(artifact.columns, classes=artifact.classes) if artifact.columns else base


def entry(value: Any, path: Any, *, key: str | None = None) -> Any:
    """What a path of names and numbers leads to in nested mappings and lists.

    Raises ``InputError``, of ``key``, for a name where a list or tensor is, and for one or a number that is not there.
    """
    for piece in path:
        known = list(map(str, value)) if isinstance(value, Mapping) else [str(i) for i in range(len(value))]
        if piece not in known:
            kind = (
                f"it has: {', '.join(known)}" if isinstance(value, Mapping) else f"it has entries 0 to {len(known) - 1}"
            )
            raise InputError(f"what is named has no field '{piece}'{nearest(piece, known)}; {kind}", key=key)
        value = value[piece] if isinstance(value, Mapping) else value[int(piece)]
    return value


def _load(node: Node) -> dict[str, Any]:
    own = {k: v for k, v in node.params.items() if k not in ENGINE_KEYS["data"]}
    try:
        return dict(part_of(node).load()(**own).load())
    except ImportError as error:
        raise part_of(node).lacking(error) from error
    except KdrunError as error:
        error.key = error.key or node.key
        raise


def _declared(value: Any, path: str, transforms: tuple[Any, ...], source: Mapping[str, Any]) -> Any:
    """Data sets at ``path`` know where they come from; those to train on carry the transforms."""
    if isinstance(value, list):
        return [_declared(one, f"{path}.{i}", transforms, source) for i, one in enumerate(value)]
    if isinstance(value, Mapping):
        return {name: _declared(one, f"{path}.{name}", transforms, source) for name, one in value.items()}
    held_out = {"valid", "test"} & set(path.split("."))
    kept = value.with_transforms(transforms) if transforms and not held_out else value
    kept.origin = (source, path)
    return kept


def _transform(content: Mapping[str, Any]) -> Any:
    part = catalog().get("transform", content["transform"])
    function = part.load()
    options = {k: v for k, v in content.items() if k != "transform"}
    if "generator" in part.injected:
        return lambda batch, generator: function(batch, generator=generator, **options)
    return lambda batch, generator: function(batch, **options)
