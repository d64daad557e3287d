"""Nodes and references: the one grammar in which everything that runs is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kdrun.errors import InputError, nearest

__all__ = ["SOURCES", "VERBS", "Graph", "Inputs", "Node", "Ref", "parse_inputs", "parse_node"]

VERBS = ("stage", "op", "foreach", "call", "model", "data", "optimizer")
"""What a node may do. ``model``, ``data`` and ``optimizer`` are sources: the groups of the config."""

SOURCES = ("model", "data", "optimizer")


@dataclass(frozen=True)
class Ref:
    """A reference to a node's value: ``name`` or ``name.field.sub``."""

    name: str
    field: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: Any, *, key: str) -> Ref:
        """Read ``name.field``. Raises ``InputError`` if it is not a reference."""
        if not isinstance(text, str) or not text or any(not piece for piece in text.split(".")):
            raise InputError(f"{text!r} is not a reference (name or name.field)", key=key)
        name, *path = text.split(".")
        return cls(name, tuple(path))

    def __str__(self) -> str:
        return ".".join([self.name, *self.field])


Inputs = dict[str, "Ref | list[Ref]"] | list["Ref | list[Ref]"]


@dataclass(frozen=True)
class Node:
    """One node: a verb with the name of a part, inputs and parameters. ``key`` is its place in the config."""

    name: str
    verb: str
    part: str
    key: str
    by: str | None = None
    inputs: Inputs = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The registry kind of the part that does this node's work."""
        return self.part if self.by is not None else self.verb

    @property
    def part_name(self) -> str:
        return self.by if self.by is not None else self.part

    def refs(self) -> Iterator[Ref]:
        """Every reference under ``from``, in order."""
        for item in self.inputs.values() if isinstance(self.inputs, dict) else self.inputs:
            yield from item if isinstance(item, list) else [item]


@dataclass(frozen=True)
class Graph:
    """Nodes by name, in topological order; ``targets`` name those whose results are wanted.

    ``shown``: by stage and what it reads, the columns that it may see there of rows that are held out (``graph.provenance``).
    """

    nodes: Mapping[str, Node]
    targets: tuple[str, ...] = ()
    shown: Mapping[str, Mapping[Ref, tuple[str, ...]]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes.values())

    def stages(self) -> list[Node]:
        """The nodes that compute something, in order of execution."""
        return [n for n in self if n.verb not in SOURCES]

    def sinks(self) -> list[Node]:
        """Stages whose result no other stage reads."""
        read = {ref.name for node in self for ref in node.refs()}
        return [n for n in self.stages() if n.name not in read]


def parse_inputs(given: Any, *, key: str) -> Inputs:
    """Read what stands under ``from``: a list, a mapping by argument name, or a single reference."""
    if given is None:
        return []
    if isinstance(given, str):
        return [Ref.parse(given, key=key)]
    if isinstance(given, dict):
        return {name: _one(item, key=f"{key}.{name}") for name, item in given.items() if item is not None}
    if isinstance(given, list):
        return [_one(item, key=f"{key}.{i}") for i, item in enumerate(given)]
    raise InputError(f"'from' takes references (a list or a mapping), got {given!r}", key=key)


def _one(item: Any, *, key: str) -> Ref | list[Ref]:
    if isinstance(item, list):
        return [Ref.parse(inner, key=key) for inner in item]
    return Ref.parse(item, key=key)


def parse_node(name: str, content: Any, *, key: str, verbs: tuple[str, ...]) -> Node:
    """Read one node. Raises ``InputError`` if it has no verb, two verbs, or is not a mapping."""
    if not isinstance(content, dict):
        raise InputError(f"a node is a mapping with one of {', '.join(verbs)}; got {content!r}", key=key)
    found = [verb for verb in verbs if content.get(verb) is not None]  # a layer may take a verb away by null
    if len(found) != 1:
        if len(found) > 1:
            raise InputError(f"a node has one verb, this has {' and '.join(found)}", key=key)
        hint = next((near for k in content if (near := nearest(k, verbs))), "")
        raise InputError(f"this node has no verb: one of {', '.join(verbs)}{hint}", key=key)
    verb = found[0]
    part = content[verb]
    if not isinstance(part, str):
        raise InputError(f"'{verb}' names a registered part, got {part!r}", key=f"{key}.{verb}")
    by = content.get("by") if verb == "stage" else None
    if by is not None and not isinstance(by, str):
        raise InputError(f"'by' names a registered part, got {by!r}", key=f"{key}.by")
    params = {k: v for k, v in content.items() if k not in (*verbs, "from") and not (k == "by" and by is not None)}
    return Node(
        name=name,
        verb=verb,
        part=part,
        by=by,
        key=key,
        inputs=parse_inputs(content.get("from"), key=f"{key}.from"),
        params=params,
    )
