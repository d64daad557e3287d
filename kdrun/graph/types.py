"""What a node's value is, as far as can be told without running: enough to find wrong wiring early."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kdrun.errors import InputError, nearest
from kdrun.grammar.nodes import Graph, Node, Ref
from kdrun.registry import Part, catalog

__all__ = ["ANNOTATIONS", "Fields", "expected", "fields_of_node", "is_shown", "part_of", "said", "value_type"]

ANNOTATIONS = {
    "Module": "model",
    "nn.Module": "model",
    "Dataset": "data",
    "Tensor": "tensor",
    "dict[str, Tensor]": "tensor",
    "Table": "table",
    "list[dict[str, Any]]": "table",
    "list[Dataset]": "list",
    "list[dict[str, Dataset]]": "list",
    "dict[str, Value]": "value",
}
"""Annotations in the signatures of parts, and the type of value each stands for."""


@dataclass(frozen=True)
class Fields:
    """Fields of a node's value with their types, ``default`` being that of the value itself; ``open`` if others may exist.

    ``main``: the field that a reference to the node alone stands for, where it is one of them.
    """

    default: str
    named: dict[str, str] = field(default_factory=dict)
    open: bool = False
    main: str = ""


def part_of(node: Node) -> Part:
    """The registered part that does a node's work. Raises ``InputError`` with the nearest name."""
    return catalog().get(node.kind, node.part_name, key=f"{node.key}.{'by' if node.by else node.verb}")


def said(mark: str, node: Node) -> Callable[..., Any] | None:
    """What a stage, one of its parameters or a part says of itself under ``mark`` (``check_of``), if it says anything."""
    if node.verb != "stage" or node.by is not None:
        found = catalog().hook(mark, f"{node.kind} {node.part_name}")
    else:
        given = [name for name in part_of(node).parameters if node.params.get(name) is not None]
        found = catalog().hook(mark, node.part, *given)
    return None if found is None else found.load()


def expected(annotation: str) -> set[str] | None:
    """The value types that an input of a part accepts; None if anything goes."""
    types = {ANNOTATIONS[piece.strip()] for piece in annotation.split("|") if piece.strip() in ANNOTATIONS}
    inner = annotation.removeprefix("list[").removesuffix("]")
    if inner != annotation and inner in ANNOTATIONS:
        types.add(ANNOTATIONS[inner])
    return types or None


def fields_of_node(node: Node) -> Fields:
    """The fields of what a node gives, as far as its part says; found once a node."""
    remembered = vars(node)
    if "_fields" not in remembered:
        remembered["_fields"] = _fields_of_node(node)
    found: Fields = remembered["_fields"]
    return found


def _fields_of_node(node: Node) -> Fields:
    if node.verb in ("model", "optimizer"):
        return Fields(node.verb)
    if node.verb == "op":
        return Fields("tensor", open=True)
    part = part_of(node)
    if node.verb == "data":
        names = dict.fromkeys(part.options.get("fields", ()), "data")
        return Fields("dataset", {**names, **dict.fromkeys(dict(part.options.get("items", {})), "list")})
    own = said("fields_of", node)
    if own is not None:
        found: Fields = own(node)
        return found
    if node.by is None:
        return Fields(str(part.options.get("value", "table")), dict(part.options.get("types", {})), open=True)
    kind = ANNOTATIONS.get(part.returns, "tensor")
    named = dict.fromkeys(part.options.get("fields", ()), kind)
    return Fields(kind, named, open=kind in ("tensor", "data") and not named)


def is_shown(node: Node) -> bool:
    """Whether a stage makes something for pages: a field ``shown`` that is a plain value and says how it is drawn (``kind``)."""
    return node.verb == "stage" and fields_of_node(node).named.get("shown") == "value"


def value_type(ref: Ref, graph: Graph, *, key: str) -> str:
    """The type of what ``ref`` names: model, data, dataset, tensor, table, optimizer or list.

    Raises ``InputError`` if the node or the field does not exist.
    """
    node = graph.nodes.get(ref.name)
    if node is None:
        raise InputError(f"there is no node '{ref.name}'{nearest(ref.name, graph.nodes)}", key=key)
    fields = fields_of_node(node)
    if not ref.field:
        return fields.default
    first = ref.field[0]
    if fields.default == "list" and first.isdigit():
        return "data"
    if first in fields.named:
        kind = fields.named[first]
        if kind == "data" and len(ref.field) > 1:
            raise InputError(f"'{ref.name}.{first}' is data, which has no fields; got '{ref}'", key=key)
        return "data" if kind == "list" and len(ref.field) > 1 else kind
    if fields.open:
        return fields.default
    known = ", ".join(fields.named) or "none"
    raise InputError(f"'{ref.name}' has no field '{first}'{nearest(first, fields.named)}; it has: {known}", key=key)
