"""Where rows come from: what is judged by its answers must not teach, choose or label what is judged.

Held out are the splits of data that their part says are (``held_out``), by default those called ``test`` or ``…_test``, and
what ``transductive`` names. A stage **fits** if it gives models, solves or reduces, or if it chooses or labels other rows by what it
reads. No held-out row may reach one, along any way; what is only judged may read all of them. ``transductive: {wanted: [image]}``
lets those columns pass, and no others: what stands before ``wanted`` makes the problem and is not looked into.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kdrun.errors import InputError, nearest
from kdrun.grammar.nodes import Graph, Node, Ref
from kdrun.graph.types import fields_of_node, part_of
from kdrun.registry import catalog

__all__ = ["Shown", "held_out_behind", "shown_columns"]

Shown = Mapping[str, Mapping[Ref, tuple[str, ...]]]
"""By stage and by what it reads, the columns that it may see of held-out rows."""

Slot = tuple[str, str]
"""A node, and the input of a partition whose rows are meant; empty for all that the node gives."""


def shown_columns(graph: Graph, config: Mapping[str, Any]) -> Shown:
    """What stages that lead to fitting may see of held-out rows, of a checked graph in topological order.

    Raises ``InputError`` (key: that of the stage which reads them first, or ``transductive``) for held-out rows on their way to a stage
    that fits, with the path.
    """
    named = _named(graph, config.get("transductive") or {})
    return _Provenance(graph, named).shown()


def held_out_behind(graph: Graph, config: Mapping[str, Any], name: str) -> str:
    """The path on which held-out rows reach the value of a node, such as ``data.test → test``; empty if they do not."""
    provenance = _Provenance(graph, _named(graph, config.get("transductive") or {}))
    provenance.shown()
    return " → ".join(provenance.way_to(name))


def _named(graph: Graph, content: Mapping[str, Any]) -> dict[Ref, tuple[str, ...]]:
    """What ``transductive`` names, and the columns that may be seen of it."""
    found = {}
    for text, columns in content.items():
        key = f"transductive.{text}"
        ref = Ref.parse(text, key=key)
        if ref.name not in graph.nodes:
            raise InputError(f"there is no node '{ref.name}'{nearest(ref.name, graph.nodes)}", key=key)
        answers = sorted(set(columns or ()) & set(_answers(ref, graph)))
        if answers:
            raise InputError(f"'{answers[0]}' is what '{text}' is judged by: no method sees it", key=key)
        found[ref] = tuple(columns or ())
    return found


def _answers(ref: Ref, graph: Graph) -> Iterator[str]:
    """The columns of held-out rows that metrics read beside what models say."""
    for node in graph:
        if not any(_within(other, ref) for other in node.refs()):
            continue
        for content in node.params.get("metrics") or ():
            if "from" in content:
                given = content["from"]
                items = given.values() if isinstance(given, Mapping) else given
                yield from (item.split(".")[1] for item in items if str(item).startswith("batch."))
            else:
                yield from (i.name for i in catalog().get("metric", content["metric"]).inputs)


def _within(ref: Ref, whole: Ref) -> bool:
    return ref.name == whole.name and ref.field[: len(whole.field)] == whole.field


@dataclass
class _Provenance:
    """``told``: what came to depend on held-out rows; ``towards``: the next stage on the way from a value to one that fits."""

    graph: Graph
    named: Mapping[Ref, tuple[str, ...]]
    told: set[Slot] = field(default_factory=set)
    towards: dict[Slot, str] = field(default_factory=dict)
    _edges: dict[str, list[tuple[str, Ref]]] = field(default_factory=dict)

    def shown(self) -> Shown:
        stages = self.graph.stages()
        for node in stages:
            self._edges[node.name] = list(_edges(node))
            for name, ref in self._edges[node.name]:
                if self._is_told(ref):
                    self.told |= {(node.name, ""), (node.name, name)}
        fitting = {node.name for node in stages if self._fits(node)}
        found: dict[str, dict[Ref, tuple[str, ...]]] = {}
        for node in reversed(stages):
            for name, ref in self._edges[node.name]:
                if node.name in fitting or (node.name, "") in self.towards or (node.name, name) in self.towards:
                    columns = self._held_out(ref)
                    if columns is None:
                        self.towards.setdefault(self._slot(ref), node.name)
                    else:
                        found.setdefault(node.name, {})[ref] = columns
        for node in stages:
            for ref, columns in found.get(node.name, {}).items():
                if not columns or _judges(node):
                    raise self._refused(node, ref, fitting)
        return found

    def way_to(self, name: str) -> list[str]:
        """From held-out rows to the value of a node that depends on them; nothing for another one."""
        if (name, "") not in self.told:
            return []
        way, slot = [name], (name, "")
        while True:
            edges = [ref for n, ref in self._edges[slot[0]] if self._is_told(ref) and slot[1] in ("", n)]
            held = next((ref for ref in edges if self._held_out(ref) is not None), None)
            if held is not None:
                return [str(held), *way]
            slot = self._slot(edges[0])
            way.insert(0, slot[0])

    def _held_out(self, ref: Ref) -> tuple[str, ...] | None:
        """The columns that may be seen of held-out rows; None for others."""
        for whole, columns in self.named.items():
            if _within(ref, whole):
                return columns
        node = self.graph.nodes[ref.name]
        if node.verb != "data":
            return None
        names = part_of(node).options.get("held_out", ())
        return () if any(p in names or p == "test" or p.endswith("_test") for p in ref.field) else None

    def _slot(self, ref: Ref) -> Slot:
        """``parts.0.train`` of a partition are rows of its input ``train`` alone."""
        node = self.graph.nodes[ref.name]
        inputs = {name for name, _ in self._edges.get(node.name, ())} if node.kind == "partition" else set()
        return node.name, ref.field[1] if len(ref.field) > 1 and ref.field[1] in inputs else ""

    def _is_told(self, ref: Ref) -> bool:
        return self._held_out(ref) is not None or self._slot(ref) in self.told

    def _fits(self, node: Node) -> bool:
        if node.verb != "stage":
            return False
        fields = fields_of_node(node)
        if "model" in (fields.default, *fields.named.values()):
            return True
        told = {name for name, ref in self._edges[node.name] if self._is_told(ref)}
        if node.kind in ("solve", "reduce"):
            return bool(told - set(part_of(node).options.get("scored", ())))
        if node.kind in ("select", "label", "corrupt"):
            rows = next((i.name for i in part_of(node).inputs if "Dataset" in i.annotation), "")
            return bool(told) and rows not in told
        return False

    def _refused(self, node: Node, ref: Ref, fitting: set[str]) -> InputError:
        way = [str(ref), node.name]
        while way[-1] not in fitting:
            slots = [(way[-1], ""), *((way[-1], name) for name, _ in self._edges[way[-1]])]
            way.append(next(self.towards[slot] for slot in slots if slot in self.towards))
        does = {"select": "chooses rows by", "label": "labels rows by"}.get(
            self.graph.nodes[way[-1]].kind, "learns from"
        )
        last = f"'{way[-1]}' {does} rows that are held out to be judged: {' → '.join(way)}"
        if _judges(node):
            return InputError(f"{last}; judge other rows to choose by, such as data.valid", key=f"{node.key}.from")
        return InputError(
            f"{last}; hand it other rows, or name the inputs that a method may see of them: transductive: {{{ref}: [image]}}",
            key=f"{node.key}.from",
        )


def _edges(node: Node) -> Iterator[tuple[str, Ref]]:
    """What a stage reads, by the name of its input."""
    for name, item in part_of(node).bind(node.inputs, key=node.key).items():
        yield from ((name, ref) for ref in (item if isinstance(item, list) else [item]))


def _judges(node: Node) -> bool:
    return (
        node.verb == "stage" and node.by is None and fields_of_node(node).default == "table" and node.part != "search"
    )
