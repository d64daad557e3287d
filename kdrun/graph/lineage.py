"""Which models a run deploys: what its judged tables ask, and the stages that trained these, apart from what they learned from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kdrun.grammar.nodes import SOURCES, Graph, Node, Ref, parse_inputs
from kdrun.grammar.steps import Step, Update, step_of
from kdrun.graph.types import fields_of_node, value_type

__all__ = ["Lineage", "by_role", "frozen_calls", "lineage_of", "used_roles"]

CHOOSING = ("select", "partition", "corrupt", "mix")
"""Kinds that choose or spoil the rows which are judged: what they ask is no part of what is deployed."""


@dataclass(frozen=True)
class Lineage:
    """``deployed``: the models that judged tables ask, with the paths of the inner modules that are called, none where it is the whole
    model. ``trained``: the stages that made them what they are, by whatever model they began with; not those of a model that another one
    of them learned from. ``asked``: stages whose answers these stages read, with the models asked, as the labels of a frozen teacher are.
    """

    deployed: Mapping[Ref, frozenset[str]]
    trained: tuple[Node, ...]
    asked: Mapping[str, tuple[Ref, ...]]


def lineage_of(graph: Graph, judged: Mapping[str, Iterable[str] | None]) -> Lineage:
    """``judged``: tables by name, and of each the columns that matter, None for all."""
    return _Search(graph).lineage(judged)


@dataclass
class _Search:
    graph: Graph
    deployed: dict[Ref, set[str]] = field(default_factory=dict)
    trained: set[str] = field(default_factory=set)

    def lineage(self, judged: Mapping[str, Iterable[str] | None]) -> Lineage:
        met: set[str] = set()
        todo = [(name, None if columns is None else set(columns)) for name, columns in judged.items()]
        while todo:
            name, columns = todo.pop()
            if name in met:
                continue
            met.add(name)
            for ref, inner in self._told(self.graph.nodes[name], columns):
                if self._is(ref, "model"):
                    self.deployed.setdefault(ref, set()).update(inner or {""})
                elif self._goes_on(ref):
                    todo.append((ref.name, None))
        self._train()
        trained = tuple(node for node in self.graph if node.name in self.trained)
        deployed = {ref: frozenset(paths - {""} if "" not in paths else ()) for ref, paths in self.deployed.items()}
        return Lineage(deployed, trained, self._asked(trained))

    def _is(self, ref: Ref, kind: str) -> bool:
        return value_type(ref, self.graph, key=ref.name) == kind

    def _goes_on(self, ref: Ref) -> bool:
        """Whether what stands behind a value that is judged may have asked models."""
        node = self.graph.nodes[ref.name]
        return node.verb not in SOURCES and node.part not in ("train", "search", *CHOOSING)

    def _told(self, node: Node, columns: set[str] | None) -> Iterator[tuple[Ref, set[str]]]:
        """What a judging stage reads, of a ``measure`` what leads to the wanted columns, with the inner modules that are called."""
        inputs = by_role(node)
        if node.verb != "stage" or node.part != "measure" or not inputs:
            yield from ((ref, set()) for ref in node.refs())
            return
        read = set(_read_by(node.params.get("metrics") or (), columns))
        inner: dict[str, set[str]] = {}
        if isinstance(node.params.get("step"), dict):
            step = step_of(node)
            for call in (step.nodes[n] for n in step.ancestors(list(read)) if step.nodes[n].node.verb == "call"):
                inner.setdefault(call.role, set()).add(call.inner)
            read |= {"data", *roles_of(step, read)}
        for role, ref in inputs.items():
            if role in read or role.rpartition("_")[0] in read:
                yield ref, inner.get(role, set())

    def _train(self) -> None:
        """The stages that trained what is deployed."""
        chains = {ref: self._chain(ref) for ref in self.deployed}
        teachers = {ref: taught for ref, (_, taught) in chains.items()}
        for ref, (stages, _) in chains.items():
            if not any(ref in taught for other, taught in teachers.items() if other != ref):
                self.trained |= stages

    def _chain(self, model: Ref) -> tuple[set[str], set[Ref]]:
        """The stages that trained a model, back to what it began with, and the models that these were handed and did not train."""
        stages: set[str] = set()
        handed: set[Ref] = set()
        todo, met = [model], set()
        while todo:
            ref = todo.pop()
            node = self.graph.nodes[ref.name]
            if ref in met or node.verb in SOURCES or node.part == "search":
                continue
            met.add(ref)
            if node.part != "train":
                todo += [inner for inner in node.refs() if self._is(inner, "model")]
                continue
            stages.add(node.name)
            inputs, step = by_role(node), step_of(node)
            handed |= {given for role, given in inputs.items() if role not in step.trained()}
            todo += [inputs[role]] if (role := _role(node, ref)) in inputs else []
        return stages, handed - met

    def _asked(self, trained: Iterable[Node]) -> dict[str, tuple[Ref, ...]]:
        """The stages behind the data and tensors of training stages that ask models of others' making."""
        found: dict[str, tuple[Ref, ...]] = {}
        todo, met = [ref for node in trained for role, ref in by_role(node).items() if role in used_roles(node)], set()
        while todo:
            ref = todo.pop()
            node = self.graph.nodes[ref.name]
            if ref.name in met or node.verb in SOURCES or node.part in ("train", "search") or self._is(ref, "model"):
                continue
            met.add(ref.name)
            others = tuple(r for r in node.refs() if self._is(r, "model") and r.name not in self.trained)
            if others:
                found[node.name] = others
            todo += list(node.refs())
        return found


def by_role(node: Node) -> dict[str, Ref]:
    """What a stage is handed by name, a list as numbered roles; nothing where it stands in a list."""
    found: dict[str, Ref] = {}
    for name, item in node.inputs.items() if isinstance(node.inputs, dict) else ():
        found |= {f"{name}_{i}": ref for i, ref in enumerate(item)} if isinstance(item, list) else {name: item}
    return found


def used_roles(node: Node) -> set[str]:
    """What a training stage is handed that some update reads, which is not the whole of it where a method is another one's special case."""
    step = step_of(node)
    names = set(_names(node.params.get("refresh") or {}))
    found = {"data", *names, *roles_of(step, names)}
    for update in step.updates:
        if update.every:
            own = {*_terms(update), *(name for transform in update.gradient for name in _names(transform))}
            found |= {update.batch, *update.roles(), *own, *roles_of(step, own)}
    return found


def _terms(update: Update) -> list[str]:
    """The nodes that an update minimizes, with a weight other than 0."""
    return [n.split(".")[0] for n, weight in update.minimize.items() if isinstance(weight, dict) or weight != 0]


def _names(content: Mapping[str, Any]) -> Iterator[str]:
    """The names that stand under ``from``."""
    refs = parse_inputs(content.get("from"), key="from")
    for item in refs.values() if isinstance(refs, dict) else refs:
        yield from (ref.name for ref in (item if isinstance(item, list) else [item]))


def _role(node: Node, ref: Ref) -> str:
    """The model of a training stage that a reference stands for."""
    first, *rest = ref.field or ("",)
    if first in ("average", "last"):
        return rest[0] if rest else fields_of_node(node).main
    return first or fields_of_node(node).main


def _read_by(metrics: Iterable[Mapping[str, Any]], columns: set[str] | None) -> Iterator[str]:
    """The names that metrics read whose column is wanted: a column is a metric's name, perhaps with something behind it."""
    for content in metrics:
        name = str(content.get("name") or content["metric"])
        if columns is None or any(column == name or column.startswith(f"{name}.") for column in columns):
            yield from _names(content)


def roles_of(step: Step, names: Iterable[str]) -> Iterator[str]:
    """What is handed in (models, tensors, data) and read by the nodes that ``names`` need."""
    for name in step.ancestors(list(names)):
        node = step.nodes[name]
        if node.node.verb == "call":
            yield node.role
        yield from (ref.name for ref in node.node.refs() if ref.name not in step.nodes)


def frozen_calls(node: Node) -> float:
    """How often a row of a training step is shown to models that the stage was handed and does not train, in the mean over steps."""
    step = step_of(node)
    handed = set(by_role(node)) - set(step.trained())
    often: dict[str, float] = {}
    for update in step.updates:
        for name in step.ancestors(_terms(update)) if update.every else ():
            often[name] = max(often.get(name, 0.0), 1 / update.every)
    calls = {name: step.nodes[name] for name in often if step.nodes[name].node.verb == "call"}
    return sum(often[name] for name, call in calls.items() if call.role in handed)
