"""Loops become plain nodes: ``foreach`` repeats a sub-graph per item, handing on carried results.

``foreach: {task: data.tasks, carry: {model: student}}`` repeats ``do`` for each task. An item may come from a
list or a mapping of values, a number of rounds, or a reference that stands for several values (a loop's results,
a data set's parts). Of a carried name, ``x.before`` is the value handed in: its initial value in the first pass, in later ones
what the node of that name made in the pass before; ``x.after`` is what that node makes in this pass. Nodes get readable names: ``stream[2].model``, or ``stream[clean].model`` for an item of a mapping.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kdrun.errors import InputError
from kdrun.grammar.nodes import SOURCES, Inputs, Node, Ref, parse_node
from kdrun.limits import refuse_beyond
from kdrun.registry import catalog

__all__ = ["parse_graph", "unroll"]

Scope = dict[str, "Ref | list[Ref]"]

CARRIED = "(carried)"
"""Stands in a scope for a name that means nothing without ``before`` or ``after``."""


def parse_graph(config: Mapping[str, Any]) -> dict[str, Node]:
    """Read the graph of a composed config: its source nodes (groups) and, unrolled, its ``graph``.

    Raises ``InputError`` for anything that is not a node, a name used twice or no graph at all.
    """
    nodes: dict[str, Node] = {}
    for name, content in config.items():
        if isinstance(content, dict) and name != "graph":
            verb = [v for v in SOURCES if isinstance(content.get(v), str)]
            if len(verb) == 1:
                nodes[name] = parse_node(name, content, key=name, verbs=SOURCES)
    body = config.get("graph") or {}
    if not isinstance(body, dict) or not body:
        raise InputError("the recipe has no graph: nothing to run", key="graph")
    for name in body:
        if name in nodes:
            raise InputError(
                f"'{name}' is already the name of a group; call the stage something else", key=f"graph.{name}"
            )
    return unroll(body, nodes)


def unroll(body: Mapping[str, Any], sources: Mapping[str, Node]) -> dict[str, Node]:
    """Return all nodes of ``body`` with loops unrolled, after the source nodes."""
    builder = _Builder()
    for node in sources.values():
        builder.add(node)
    builder.block(body, prefix="", scope={}, key="graph")
    return builder.nodes


class _Builder:
    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.loops: Scope = {}
        self.labels: dict[str, list[str]] = {}

    def block(self, body: Mapping[str, Any], *, prefix: str, scope: Scope, key: str) -> None:
        """Add the nodes of one block; names of the block shadow those outside."""
        if not isinstance(body, dict):
            raise InputError(f"expected a mapping of nodes, got {body!r}", key=key)
        body = {name: content for name, content in body.items() if content is not None}  # null takes a node away
        own = {name: Ref(prefix + name) for name in body}
        inner: Scope = {**scope, **own}
        plain = {n: c for n, c in body.items() if not (isinstance(c, dict) and "foreach" in c)}
        for name in [*_ordered_loops(body), *plain]:
            content = body[name]
            if name in plain:
                self.add(parse_node(prefix + name, content, key=f"{key}.{name}", verbs=("stage", "op", *SOURCES)))
        for name in _ordered_loops(body):
            self.loop(name, body[name], prefix=prefix, scope=inner, key=f"{key}.{name}")
        for name in plain:
            node = self.nodes[prefix + name]
            self.nodes[node.name] = replace(node, inputs=self.resolve(node.inputs, inner, key=f"{node.key}.from"))

    def add(self, node: Node) -> None:
        """Add a plain node; a value that has several parts, as its part declares, stands for the list of them.

        A partition (``items="parts"``) does as a whole, a data set by a field (``items={"tasks": "num_tasks"}``).
        """
        self.nodes[node.name] = node
        refuse_beyond("nodes", len(self.nodes), "nodes, with loops unrolled,", key=node.key)
        part = catalog().find(node.kind, node.part_name)
        items = part.options.get("items", {}) if part is not None else {}
        for field, parameter in ({"": items} if isinstance(items, str) else dict(items)).items():
            assert part is not None
            path = (field,) if field else ()
            count = _length(part.with_defaults(node.params).get(parameter))
            refuse_beyond("loop_items", count, "parts of a value", key=f"{node.key}.{parameter}")
            self.loops[".".join([node.name, *path])] = [Ref(node.name, (*path, str(i))) for i in range(count)]

    def loop(self, name: str, content: dict[str, Any], *, prefix: str, scope: Scope, key: str) -> None:
        spec = content["foreach"]
        if not isinstance(spec, dict) or not isinstance(content.get("do"), dict):
            raise InputError("a loop reads {foreach: {item: items}, do: {...}}", key=key)
        unknown = set(content) - {"foreach", "do", "result"}
        if unknown:
            raise InputError(f"a loop has foreach, do and result; not '{sorted(unknown)[0]}'", key=key)
        carry = spec.get("carry", {})
        if not isinstance(carry, dict):
            raise InputError("carry says what each name starts as: {name: node}", key=f"{key}.foreach.carry")
        items = {
            k: self.items(v, scope, name=k, prefix=prefix, key=f"{key}.foreach.{k}")
            for k, v in spec.items()
            if k != "carry"
        }
        lengths = {k: len(v) for k, v in items.items() if isinstance(v, list)}
        if not lengths:
            raise InputError(
                "nothing here says how often to loop (a list, a number, a loop's result)", key=f"{key}.foreach"
            )
        if len(set(lengths.values())) != 1:
            raise InputError(f"the lists of a loop must be of one length, got {lengths}", key=f"{key}.foreach")
        results: list[dict[str, Ref | list[Ref]]] = []
        named = [list(v) for k, v in spec.items() if k != "carry" and isinstance(v, dict)]
        labels = named[0] if named else [str(i) for i in range(next(iter(lengths.values())))]
        for i, label in enumerate(labels):
            here = f"{prefix}{name}[{label}]."
            inner = {**scope, **{k: item for k, v in items.items() if (item := _item(v, i)) is not None}}
            for carried, initial in carry.items():
                inner[carried] = (
                    Ref(f"{prefix}{name}[{labels[i - 1]}].{carried}")
                    if i
                    else self.expand(Ref.parse(initial, key=key), scope, key=key)
                )
            body = {n: c for n, c in content["do"].items() if c is not None}
            self.pass_(body, here, inner, carry, key=f"{key}.do")
            results.append(self.result(content.get("result"), body, here, key=key))
        self.publish(prefix + name, results, labels)

    def pass_(self, body: dict[str, Any], here: str, inner: Scope, carry: Mapping[str, Any], *, key: str) -> None:
        """One pass. A carried name is read as ``name.before`` or ``name.after``."""
        missing = [name for name in carry if name not in body]
        if missing:
            raise InputError(f"the loop carries '{missing[0]}', but no node of that name hands it on", key=key)
        scope: Scope = {**inner, **{n: Ref(here + n) for n in body if n not in carry}}
        for name in carry:
            scope[f"{name}.before"], scope[f"{name}.after"] = inner[name], Ref(here + name)
            scope[name] = Ref(CARRIED, (name,))
        plain = [n for n, c in body.items() if not (isinstance(c, dict) and "foreach" in c)]
        for name in plain:
            self.add(parse_node(here + name, body[name], key=f"{key}.{name}", verbs=("stage", "op", *SOURCES)))
        for name in _ordered_loops(body):
            self.loop(name, body[name], prefix=here, scope=scope, key=f"{key}.{name}")
        for name in plain:
            node = self.nodes[here + name]
            self.nodes[node.name] = replace(node, inputs=self.resolve(node.inputs, scope, key=f"{node.key}.from"))

    def result(self, spec: Any, body: Mapping[str, Any], here: str, *, key: str) -> dict[str, Ref | list[Ref]]:
        names = {"": spec or list(body)[-1]} if not isinstance(spec, dict) else dict(spec)
        found: dict[str, Ref | list[Ref]] = {}
        for field, target in names.items():
            ref = Ref.parse(target, key=f"{key}.result")
            if ref.name not in body:
                raise InputError(f"the loop hands on '{ref.name}', which is no node of it", key=f"{key}.result")
            found[field] = self.expand(Ref(here + ref.name, ref.field), {}, key=key)
        return found

    def publish(self, name: str, results: list[dict[str, Ref | list[Ref]]], labels: list[str]) -> None:
        self.labels[name] = labels
        for field in results[0] if results else []:
            label = f"{name}.{field}" if field else name
            flat = [r[field] for r in results]
            self.loops[label] = [inner for item in flat for inner in (item if isinstance(item, list) else [item])]
            last = flat[-1]
            self.loops[f"{name}.last.{field}" if field else f"{name}.last"] = last

    def items(
        self, given: Any, scope: Scope, *, name: str, prefix: str, key: str
    ) -> list[Ref | list[Ref] | None] | Ref:
        """What the loop variable stands for in each pass; None where it is a bare number.

        A reference to a single value is returned as it is: pass ``i`` reads its ``i``-th part.
        """
        if isinstance(given, int) and not isinstance(given, bool):
            if given < 0:
                raise InputError(f"a loop has 0 passes or more, got {given}", key=key)
            refuse_beyond("loop_items", given, "items of a loop", key=key)
            return [None] * given
        if isinstance(given, list | dict):
            values = given.values() if isinstance(given, dict) else given
            return [
                self.literal(item, scope, name=name, prefix=prefix, index=i, key=key) for i, item in enumerate(values)
            ]
        ref = Ref.parse(given, key=key)
        expanded = self.expand(ref, scope, key=key)
        if isinstance(expanded, list):
            return list(expanded)
        return expanded

    def literal(
        self, item: Any, scope: Scope, *, name: str, prefix: str, index: int, key: str
    ) -> Ref | list[Ref] | None:
        if isinstance(item, dict):
            label = f"{prefix}{name}[{index}]"
            self.add(parse_node(label, item, key=f"{key}.{index}", verbs=SOURCES))
            return Ref(label)
        if isinstance(item, str):
            return self.expand(Ref.parse(item, key=key), scope, key=key)
        return None

    def resolve(self, inputs: Inputs, scope: Scope, *, key: str) -> Inputs:
        if isinstance(inputs, dict):
            return {name: self.resolve_one(item, scope, key=key) for name, item in inputs.items()}
        return [self.resolve_one(item, scope, key=key) for item in inputs]

    def resolve_one(self, item: Ref | list[Ref], scope: Scope, *, key: str) -> Ref | list[Ref]:
        if isinstance(item, list):
            parts = [self.expand(ref, scope, key=key) for ref in item]
            return [inner for part in parts for inner in (part if isinstance(part, list) else [part])]
        return self.expand(item, scope, key=key)

    def expand(self, ref: Ref, scope: Scope, *, key: str) -> Ref | list[Ref]:
        """Replace loop variables, carried names and loop results by the nodes they stand for."""
        target = scope.get(ref.name, Ref(ref.name))
        if isinstance(target, Ref) and target.name == CARRIED:
            moment = ref.field[0] if ref.field else ""
            if moment not in ("before", "after"):
                raise InputError(
                    f"'{ref.name}' is carried: {ref.name}.before is the value handed in, {ref.name}.after the new one",
                    key=key,
                )
            target, ref = scope[f"{ref.name}.{moment}"], Ref(ref.name, ref.field[1:])
        if isinstance(target, list):
            return [Ref(t.name, t.field + ref.field) for t in target]
        full = Ref(target.name, target.field + ref.field)
        for cut in range(len(full.field), -1, -1):
            label = ".".join([full.name, *full.field[:cut]])
            if label in self.loops:
                found = self.loops[label]
                rest = full.field[cut:]
                if isinstance(found, list):
                    known = self.labels.get(full.name) or [str(i) for i in range(len(found))]
                    if rest and len(known) == len(found) and rest[0] in known:
                        one = found[known.index(rest[0])]
                        return Ref(one.name, one.field + rest[1:])
                    return [Ref(f.name, f.field + rest) for f in found]
                return Ref(found.name, found.field + rest)
        return full


def _item(items: Any, i: int) -> Ref | list[Ref] | None:
    return Ref(items.name, (*items.field, str(i))) if isinstance(items, Ref) else items[i]


def _length(value: Any) -> int:
    return len(value) if isinstance(value, list) else int(value or 0)


def _ordered_loops(body: Mapping[str, Any]) -> list[str]:
    """The loops of a block, each after those whose results it reads; else as they stand."""
    loops = [n for n, c in body.items() if isinstance(c, dict) and "foreach" in c]
    reads = {name: _mentioned(body[name]) & set(loops) - {name} for name in loops}
    found: list[str] = []
    while len(found) < len(loops):
        ready = [n for n in loops if n not in found and reads[n] <= set(found)]
        found.append(ready[0] if ready else next(n for n in loops if n not in found))
    return found


def _mentioned(content: Any) -> set[str]:
    """First names of all that could be a reference under ``content``."""
    if isinstance(content, Mapping):
        return {name for item in content.values() for name in _mentioned(item)}
    if isinstance(content, list):
        return {name for item in content for name in _mentioned(item)}
    return {content.partition(".")[0]} if isinstance(content, str) else set()
