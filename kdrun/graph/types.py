"""What a node's value is, as far as can be told without running: enough to find wrong wiring early."""

from __future__ import annotations

from dataclasses import dataclass

from kdrun.errors import InputError, nearest
from kdrun.grammar.nodes import Graph, Node, Ref
from kdrun.registry import Part, catalog

__all__ = ["ANNOTATIONS", "expected", "part_of", "value_type"]

ANNOTATIONS = {
    "Module": "model",
    "nn.Module": "model",
    "Dataset": "data",
    "Tensor": "tensor",
    "dict[str, Tensor]": "tensor",
    "Table": "table",
    "list[dict[str, Any]]": "table",
}
"""Annotations in the signatures of parts, and the type of value each stands for."""


@dataclass(frozen=True)
class _Fields:
    """Fields of a node's value with their types; ``open`` if others may exist."""

    default: str
    named: dict[str, str]
    open: bool = False


def part_of(node: Node) -> Part:
    """The registered part that does a node's work. Raises ``InputError`` with the nearest name."""
    return catalog().get(node.kind, node.part_name, key=f"{node.key}.{'by' if node.by else node.verb}")


def expected(annotation: str) -> set[str] | None:
    """The value types that an input of a part accepts; None if anything goes."""
    types = {ANNOTATIONS[piece.strip()] for piece in annotation.split("|") if piece.strip() in ANNOTATIONS}
    inner = annotation.removeprefix("list[").removesuffix("]")
    if inner != annotation and inner in ANNOTATIONS:
        types.add(ANNOTATIONS[inner])
    return types or None


def _fields(node: Node, graph: Graph) -> _Fields:
    if node.verb == "model":
        return _Fields("model", {})
    if node.verb == "optimizer":
        return _Fields("optimizer", {})
    part = part_of(node)
    if node.verb == "data":
        names = dict.fromkeys(part.options.get("fields", ()), "data")
        return _Fields("dataset", {**names, **dict.fromkeys(dict(part.options.get("items", {})), "list")})
    if node.verb == "op":
        return _Fields("tensor", {}, open=True)
    if node.by is None and node.part == "train":
        return _train_fields(node)
    if node.by is None:
        kind = str(part.options.get("value", "table"))
        return _Fields(kind, dict(part.options.get("types", {})), open=True)
    if node.part == "partition":
        return _Fields("list", {})
    kind = ANNOTATIONS.get(part.returns, "tensor")
    named = dict.fromkeys(part.options.get("fields", ()), kind)
    return _Fields(kind, named, open=kind in ("tensor", "data") and not named)


def _train_fields(node: Node) -> _Fields:
    roles = [*(node.inputs if isinstance(node.inputs, dict) else {}), *dict(node.params.get("models") or {})]
    fields = {**dict.fromkeys(roles, "model"), "log": "table", "cost": "table", "average": "model"}
    return _Fields("model", {**fields, "chosen": "tensor"} if node.params.get("refresh") else fields)


def value_type(ref: Ref, graph: Graph, *, key: str) -> str:
    """The type of what ``ref`` names: model, data, dataset, tensor, table, optimizer or list.

    Raises ``InputError`` if the node or the field does not exist.
    """
    node = graph.nodes.get(ref.name)
    if node is None:
        raise InputError(f"there is no node '{ref.name}'{nearest(ref.name, graph.nodes)}", key=key)
    fields = _fields(node, graph)
    if not ref.field:
        return fields.default
    first = ref.field[0]
    if fields.default == "list" and first.isdigit():
        return "data"
    if first in fields.named:
        kind = fields.named[first]
        return "data" if kind == "list" and len(ref.field) > 1 else kind
    if fields.open:
        return fields.default
    known = ", ".join(fields.named) or "none"
    raise InputError(f"'{ref.name}' has no field '{first}'{nearest(first, fields.named)}; it has: {known}", key=key)
