"""Planning: the whole graph on fake tensors, with no data, no weights and no device.

Each stage is given what is known of its inputs (a model's specification, a data set's columns, a tensor's
shape) and says what is known of its result. Stages and parts that need more than being run on fake tensors say how they are
planned (``plan_of``, ``shape_of``). What can be known only by running is noted as such.
"""

from __future__ import annotations

import contextlib
import gc
import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from kdrun.data.dataset import Column, DataInfo
from kdrun.engine.origins import at_its_source
from kdrun.engine.withheld import explain, narrowed, refuse_mentions, withheld
from kdrun.errors import InputError, KdrunError, nearest
from kdrun.grammar.nodes import SOURCES, Graph, Node, Ref
from kdrun.graph.check import ENGINE_KEYS
from kdrun.graph.keys import Keys
from kdrun.graph.types import fields_of_node, part_of, said
from kdrun.models.building import resolve, sizes_from_data
from kdrun.registry import Part
from kdrun.runtime.artifacts import Model, Table
from kdrun.runtime.fakes import FakeContext, counted, fake, known, on_fakes, on_meta
from kdrun.runtime.known import UNKNOWN, Planned, Unknown

__all__ = ["Known", "Plan", "StagePlan", "plan"]


@dataclass(frozen=True)
class StagePlan(Planned):
    """What is known of one stage of a graph before it runs: its name, what it does, and the key of its result."""

    name: str = ""
    kind: str = ""
    key: str = ""
    trains: bool = False
    """Whether it takes steps, even if their number is not known."""


@dataclass(frozen=True)
class Plan:
    """All stages in order of execution."""

    stages: tuple[StagePlan, ...]

    @property
    def total_flops(self) -> int:
        """FLOPs of all training steps whose number is known."""
        return sum((s.flops or 0) * (s.steps or 0) for s in self.stages)


Known = dict[str, StagePlan]
"""Plans by a stage's key: arms that share a stage plan it once."""


def plan(graph: Graph, keys: Keys, before: Known | None = None) -> Plan:
    """Plan a checked graph. Raises ``InputError`` (with the config key) for what cannot work.

    ``before`` is read and added to: the stages of other graphs that were planned before.
    """
    return _Planner(graph, keys, {} if before is None else before).run()


class _Planner:
    def __init__(self, graph: Graph, keys: Keys, before: Known) -> None:
        self.graph, self.keys, self.before = graph, keys, before
        self.plans: dict[str, StagePlan] = {}
        self.infos: dict[str, Mapping[str, Any]] = {}
        self.narrow: set[str] = set()
        self.hidden: dict[str, Ref] = {}

    def run(self) -> Plan:
        for node in self.graph:
            if node.verb in SOURCES:
                continue
            key = self.keys[node.name]
            label = self._label(node, key)
            try:
                if label not in self.before:
                    with _uncollected():
                        self.before[label] = self._stage(node, key)
            except KdrunError as error:
                error.key = at_its_source(error, node, self.graph).key or node.key
                explain(error, self.hidden)
                raise
            self.plans[node.name] = replace(self.before[label], name=node.name)  # whoever was planned first
        return Plan(tuple(self.plans.values()))

    def _label(self, node: Node, key: str) -> str:
        """Under which name a stage's plan is remembered: apart where it sees less of rows that are held out."""
        if node.name in self.graph.shown or any(ref.name in self.narrow for ref in node.refs()):
            self.narrow.add(node.name)
            return f"{key} narrow"
        return key

    def _stage(self, node: Node, key: str) -> StagePlan:
        part = part_of(node)
        bound = part.bind(node.inputs, key=node.key)
        values = {
            n: [self._seen(node, r) for r in i] if isinstance(i, list) else self._seen(node, i)
            for n, i in bound.items()
        }
        own = said("plan_of", node)
        if own is not None:
            try:
                found = own(node, values)
            except (RuntimeError, OverflowError, ValueError) as error:
                _refuse_overflow(error, node)
                raise
        elif node.by is None and node.verb == "stage" and fields_of_node(node).default == "table":
            found = _table(values)
        else:
            found = _on_fake_rows(part, node, values, self._withheld(node, values))
        kind = f"{node.part}{f' by {node.by}' if node.by else ''}"
        trains = bool(part.options.get("together"))
        return StagePlan(**vars(found), name=node.name, kind=kind, key=key, trains=trains)

    def _seen(self, node: Node, ref: Ref) -> Any:
        """What is known of a value, without the columns that are withheld from the stage."""
        value, columns = self._value(ref), self.graph.shown.get(node.name, {}).get(ref)
        if columns is None:
            return value
        self.hidden.update(dict.fromkeys(withheld(value, columns), ref))
        return narrowed(value, columns)

    def _withheld(self, node: Node, values: Mapping[str, Any]) -> dict[str, Ref]:
        """The columns that are withheld from a stage and that nothing else gives it."""
        if node.name not in self.narrow:
            return {}
        there = {c for value in _flatten(values.values()) if isinstance(value, DataInfo) for c in value.columns}
        return {column: ref for column, ref in self.hidden.items() if column not in there}

    def _value(self, ref: Ref) -> Any:
        node = self.graph.nodes[ref.name]
        if node.verb == "model":
            return Model({"model": node.part, **node.params}, None)
        if node.verb == "optimizer":
            return None
        if node.verb == "data":
            value: Any = self._info(node)
            for piece in ref.field:
                if isinstance(value, Mapping) and piece not in value:
                    raise InputError(
                        f"the data has no split '{piece}'{nearest(piece, value)}; there are: {', '.join(value)}",
                        key=node.key,
                    )
                value = value[int(piece)] if isinstance(value, list) else value[piece]
            return value
        return self._of_stage(node, ref)

    def _of_stage(self, node: Node, ref: Ref) -> Any:
        fields = self.plans[node.name].fields
        for cut in range(len(ref.field), -1, -1):
            name = ".".join(ref.field[:cut]) or fields_of_node(node).main
            if name in fields:
                return _within(fields[name], ref.field[cut:])
        return UNKNOWN

    def _info(self, node: Node) -> Mapping[str, Any]:
        if node.name not in self.infos:
            own = {k: v for k, v in node.params.items() if k not in ENGINE_KEYS["data"]}
            found = part_of(node).load()(**own).info()
            try:
                for split in _splits(found):
                    counted(split)
            except InputError as error:
                error.key = error.key or node.key
                raise
            self.infos[node.name] = found
        return self.infos[node.name]


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Without looking for circles of garbage again and again while a model's thousands of modules are made, which are all in use."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _splits(value: Any) -> Iterator[DataInfo]:
    """What is said of each data set in nested mappings and lists."""
    if isinstance(value, DataInfo):
        yield value
    elif isinstance(value, Mapping | list):
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from _splits(one)


def _within(value: Any, path: tuple[str, ...]) -> Any:
    """What is known of an entry: of a list or mapping, or along the first axis of a tensor."""
    for piece in path:
        if isinstance(value, Unknown):
            return UNKNOWN
        if isinstance(value, Column):
            value = Column(value.shape[1:], value.dtype)
        else:
            value = value[int(piece)] if piece.isdigit() and not isinstance(value, Mapping) else value[piece]
    return value


def _table(values: Mapping[str, Any]) -> Planned:
    """A stage that gives a table: models that were never trained must be buildable for the data at hand."""
    infos = [v for v in values.values() if isinstance(v, DataInfo)]
    for value in _flatten(values.values()):
        if isinstance(value, Model) and value.state is None and infos:
            on_meta(resolve(value.spec, sizes_from_data(infos[0])))
    return Planned()


def _on_fake_rows(part: Part, node: Node, values: Mapping[str, Any], hidden: Mapping[str, Ref]) -> Planned:
    """Run a part on fake tensors, or what it says of its result's shape; what that cannot do is unknown until it runs.

    ``hidden``: columns that are withheld. A part that is not run shows by its source whether it reads one.
    """
    unknown = any(isinstance(v, Unknown) for v in _flatten(values.values()))
    if unknown or said("shape_of", node) is not None:
        refuse_mentions(node, part, hidden)
    infos = [v for v in _flatten(values.values()) if isinstance(v, DataInfo)]
    if unknown and part.kind == "select" and infos:  # whatever chooses them, they are rows of the data
        return _without_rows(part, node, values)
    if unknown:
        return Planned(notes=("depends on what an earlier stage finds",))
    rows = infos[0].size if infos and part.kind == "generate" else None
    if rows is not None:  # what is generated for one row is known for all
        values = {n: replace(v, size=2) if isinstance(v, DataInfo) else v for n, v in values.items()}
    try:
        found = _faked(part, node, values, sizes_from_data(infos[0]) if infos else {})
    except Exception as error:
        if isinstance(error, InputError) and all(info.size is not None for info in infos):
            raise
        _refuse_overflow(error, node)
        refuse_mentions(node, part, hidden)
        return _without_rows(part, node, values)
    if rows is not None and isinstance(found.get(""), DataInfo):
        found = {**found, "": replace(found[""], size=rows)}
    return Planned(found)


def _faked(part: Part, node: Node, values: Mapping[str, Any], sizes: Mapping[str, int]) -> dict[str, Any]:
    stated = said("shape_of", node)
    options = {k: v for k, v in node.params.items() if k not in ENGINE_KEYS["stage"]}
    with on_fakes():
        injected = part.injected if stated is None else set(inspect.signature(stated).parameters)
        if "context" in injected:
            options["context"] = FakeContext(node.name, node.key, sizes)
        if "generator" in injected:
            options["generator"] = torch.Generator()
        faked = {n: fake(v, sizes) for n, v in values.items()}
        positional = faked.pop(part.inputs[-1].name, []) if part.variadic else []
        function = stated if stated is not None else part.load()
        named = {} if positional else faked
        returned = function(*([*faked.values(), *positional] if positional else []), **named, **options)
        found = known(returned)
    if node.verb == "stage" and node.by is None and isinstance(found, dict):
        return {n: UNKNOWN if isinstance(returned[n], Table) else v for n, v in found.items()}
    return {"": found}


def _refuse_overflow(error: Exception, node: Node) -> None:
    """Raise ``InputError`` if a tensor would have more bytes than can be counted."""
    if re.search(r"overflow|too large|Storage size", str(error)):
        told = str(error).split("\n", 1)[0]
        raise InputError(f"a tensor here would be larger than any memory ({told:.120})", key=node.key) from None


def _without_rows(part: Part, node: Node, values: Mapping[str, Any]) -> Planned:
    """What a part gives whose rows are chosen as it runs: what a row is may be known all the same."""
    infos = {n: replace(v, size=None) for n, v in values.items() if isinstance(v, DataInfo)}
    if "items" in part.options and infos:
        count: Any = part.with_defaults(node.params)[str(part.options["items"])]
        one: Any = infos["data"] if list(infos) == ["data"] else infos
        parts = [one] * (len(count) if isinstance(count, list) else int(count))
        return Planned({"": parts}, notes=("how many rows its parts have is known only when it has run",))
    if part.returns == "Dataset" and infos:
        note = "how many rows it gives is known only when it has run"
        return Planned({"": next(iter(infos.values()))}, notes=(note,))
    return Planned(notes=("its result's shape is known only when it has run",))


def _flatten(values: Any) -> list[Any]:
    return [inner for v in values for inner in (v if isinstance(v, list) else [v])]
