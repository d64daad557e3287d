"""Executing a run graph: each stage is looked up in the store by key, else computed once, by one process."""

from __future__ import annotations

import contextlib
import functools
import pickle
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kdrun.config.reads import reads
from kdrun.engine.origins import at_its_source
from kdrun.engine.results import Result, as_result, value_of
from kdrun.engine.sources import Sources, entry
from kdrun.engine.store import Store, refuse_foreign
from kdrun.errors import CorruptArtifact, InputError, KdrunError, Occupied, RunError
from kdrun.grammar.nodes import SOURCES, Graph, Node, Ref
from kdrun.graph.check import ENGINE_KEYS
from kdrun.graph.keys import Keys
from kdrun.graph.types import part_of
from kdrun.registry.blame import in_plugin
from kdrun.runtime.artifacts import Model, OptimizerSpec, Table
from kdrun.runtime.progress import QuietReporter, Reporter

if TYPE_CHECKING:
    from kdrun.runtime.hardware import Hardware

__all__ = ["Executor"]


@dataclass
class Executor:
    """Runs one graph at one seed. ``counts`` tells afterwards how many stages were computed and how many found."""

    graph: Graph
    keys: Keys
    store: Store
    hardware_settings: Mapping[str, Any]
    config: Mapping[str, Any] = field(default_factory=dict)
    reporter: Reporter = field(default_factory=QuietReporter)
    checkpoint_seconds: float = 60.0
    sources: Sources = field(default_factory=Sources)
    waits: bool = True
    """Whether a run stands still while another process computes a stage that it needs; else it raises ``Occupied``."""
    counts: dict[str, int] = field(default_factory=lambda: {"computed": 0, "cached": 0})
    seconds: dict[str, float] = field(default_factory=dict)
    _results: dict[str, Result] = field(default_factory=dict)
    _hardware: Hardware | None = None

    def run(self) -> dict[str, list[dict[str, Any]]]:
        """Compute what is wanted; return the tables among it, by node name. A result is let go after its last use."""
        try:
            return self._tables_wanted()
        finally:
            self.store.settle()

    def _tables_wanted(self) -> dict[str, list[dict[str, Any]]]:
        tables: dict[str, dict[str, list[dict[str, Any]]]] = {}
        due = self._due()
        self.reporter.expected(self.missing())
        uses = Counter(ref.name for name in due for ref in {r.name: r for r in self.graph.nodes[name].refs()}.values())
        for name in due:
            result = self.result(name)
            if name in self.graph.targets:
                found = {f: artifact.rows for f, artifact in result.items() if isinstance(artifact, Table)}
                tables[name] = {f"{name}.{field}" if field else name: rows for field, rows in found.items()}
            for read in {ref.name for ref in self.graph.nodes[name].refs()}:
                uses[read] -= 1
                if not uses[read]:
                    self._results.pop(read, None)
            if not uses[name]:
                self._results.pop(name, None)
        return {label: rows for name in self.graph.targets for label, rows in tables.get(name, {}).items()}

    def _due(self) -> list[str]:
        """What has to be looked at, in order: the targets, and all that those not yet stored read."""
        found: set[str] = set()
        todo = list(self.graph.targets)
        while todo:
            name = todo.pop()
            node = self.graph.nodes[name]
            if name not in found and node.verb not in SOURCES:
                found.add(name)
                if not self.store.contains(self.keys[name]):
                    todo += [ref.name for ref in node.refs()]
        return [node.name for node in self.graph if node.name in found]

    def missing(self) -> list[str]:
        """The stages that a run would compute, in their order."""
        return [name for name in self._due() if not self.store.contains(self.keys[name])]

    def take_part(self, name: str) -> None:
        """Run a train stage along with the first process of a group, and leave what comes of it to that one."""
        self.checkpoint_seconds = float("inf")
        self._call(self.graph.nodes[name], self.keys[name])

    def finished(self) -> bool:
        """Whether the store already holds every final result."""
        return all(self.store.contains(self.keys[name]) for name in self.graph.targets)

    def result(self, name: str) -> Result:
        """The result of a stage, from memory, from the store or computed now."""
        if name not in self._results:
            self._results[name] = self._obtain(self.graph.nodes[name])
        return self._results[name]

    def forget(self) -> None:
        """Let go of all results; who asks again reads them from the store."""
        self._results.clear()

    def rows(self, name: str, field: str) -> list[dict[str, Any]]:
        """A table among a stage's fields, without the rest of its result; one that is damaged is computed again."""
        try:
            table = self.store.read(self.keys[name], fields=[field])[field]
        except CorruptArtifact:
            table = self.result(name)[field]
        assert isinstance(table, Table)
        return table.rows

    def _obtain(self, node: Node) -> Result:
        key = self.keys[node.name]
        found = self._read(key)
        if found is None:
            for ref in node.refs():
                if self.graph.nodes[ref.name].verb not in SOURCES:
                    self.result(ref.name)
            with self.store.lock(key, on_wait=lambda _: self._taken(node, key)):
                found = self._read(key, damaged=functools.partial(self._set_aside, node))
                if found is None:
                    return self._compute(node, key)
        self.counts["cached"] += 1
        self.reporter.cached(node.name)
        return found

    def _taken(self, node: Node, key: str) -> None:
        """Say that another process is at a stage. Raises ``Occupied`` where nobody is to wait for it."""
        if not self.waits:
            raise Occupied(f"{node.name}: another process computes it", key)
        self.reporter.message(f"{node.name}: another process computes it; waiting")

    def _read(self, key: str, damaged: Callable[[CorruptArtifact], None] = lambda error: None) -> Result | None:
        """The stored result, or None; ``damaged`` hears of one that is not whole."""
        if not self.store.contains(key):
            return None
        try:
            found = self.store.read(key)
            for artifact in found.values():
                refuse_foreign(artifact, self.named)
            return found
        except CorruptArtifact as error:
            damaged(error)
            return None

    @functools.cached_property
    def named(self) -> frozenset[str]:
        """What the configuration names to read."""
        return frozenset(read.text for read in reads(self.config))

    def _set_aside(self, node: Node, error: CorruptArtifact) -> None:
        """Only who holds the lock does so: without it, the damaged result may be another's new one by now."""
        self.reporter.message(f"{node.name}: {error}; set aside, computing it again")
        self.store.discard(self.keys[node.name], str(error))

    def _compute(self, node: Node, key: str) -> Result:
        started = time.monotonic()
        if not self._is_shared(node):
            self.reporter.stage_started(node.name)
        try:
            with self._together(node):
                result = self._call(node, key)
        except KdrunError as error:
            error.key = at_its_source(error, node, self.graph).key or node.key
            raise
        self.store.write(key, result, {"node": node.name, "kind": f"{node.verb} {node.part}", "by": node.by})
        self._checkpoints(key).clear()
        self.counts["computed"] += 1
        self.seconds[node.name] = time.monotonic() - started
        self.reporter.stage_finished(node.name, self.seconds[node.name])
        return result

    def _is_shared(self, node: Node) -> bool:
        """Whether several processes run the stage together, each reporting its steps."""
        return bool(part_of(node).options.get("together"))

    def _together(self, node: Node) -> Any:
        """The other processes of the group, if there is one, at the same stage."""
        if not self._is_shared(node) or self.hardware.processes == 1:
            return contextlib.nullcontext()
        from kdrun.runtime.processes import Group

        return Group.of(self.hardware.processes).together(self.config, node.name)

    def _call(self, node: Node, key: str) -> Result:
        from kdrun.runtime.context import Context
        from kdrun.runtime.soundness import refuse_unsound

        part = part_of(node)
        options = {k: v for k, v in node.params.items() if k not in ENGINE_KEYS["stage"]}
        context = Context(
            name=node.name,
            key=key,
            config_key=node.key,
            seed=self.keys.seed_of(node),
            hardware=self.hardware,
            checkpoints=self._checkpoints(key),
            reporter=self.reporter,
            checkpoint_seconds=self.checkpoint_seconds,
            store=self.store.root,
        )
        bound = part.bind(node.inputs, key=node.key)
        values = {name: self._values(item, node) for name, item in bound.items()}
        context.sizes = _sizes(values)
        annotations = {i.name: i.annotation for i in part.inputs}
        arguments = {n: _fitting(v, annotations.get(n, ""), context, n) for n, v in values.items()}
        if "context" in part.injected:
            options["context"] = context
        if "generator" in part.injected:
            options["generator"] = context.generator("part")
        positional = arguments.pop(part.inputs[-1].name, []) if part.variadic else []
        with _told_in_a_line(node, self.graph):
            returned = part.load()(
                *([*arguments.values(), *positional] if positional else []),
                **({} if positional else arguments),
                **options,
            )
        result = as_result(returned, context)
        refuse_unsound(result)
        return result

    def _checkpoints(self, key: str) -> Any:
        from kdrun.runtime.checkpoints import Checkpoints

        return Checkpoints(self.store.root / "checkpoints", key, self.reporter.message)

    @property
    def hardware(self) -> Hardware:
        """The device and numerics, set up when the first stage is computed, and in force for what follows."""
        from kdrun.runtime.hardware import Hardware
        from kdrun.runtime.process_state import put_in_force

        if self._hardware is None:
            self._hardware = Hardware(self.hardware_settings)
        put_in_force(self.hardware_settings)
        return self._hardware

    def _values(self, item: Ref | list[Ref], node: Node) -> Any:
        return [self._seen(ref, node) for ref in item] if isinstance(item, list) else self._seen(item, node)

    def _seen(self, ref: Ref, node: Node) -> Any:
        """What a reference stands for, of rows that are held out what the stage may see."""
        columns = self.graph.shown.get(node.name, {}).get(ref)
        if columns is None:
            return self.value(ref)
        from kdrun.data.shown import showing

        return showing(self.value(ref), columns)

    def value(self, ref: Ref) -> Any:
        """What a reference stands for: a model artifact, a data set, tensors, rows, an optimizer's settings."""
        node = self.graph.nodes[ref.name]
        if node.verb == "model":
            return Model({"model": node.part, **node.params}, None)
        if node.verb == "optimizer":
            return OptimizerSpec({"optimizer": node.part, **node.params})
        if node.verb == "data":
            return entry(self.sources.splits(node), ref.field)
        return value_of(ref, node, self.result(node.name), self.sources)


@contextlib.contextmanager
def _told_in_a_line(node: Node, graph: Graph) -> Iterator[None]:
    """Say what to do about errors inside a part that come of what the user has: a missing package, a label without a class."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Detected pickle protocol")  # of what is refused by the next line
            yield
    except KdrunError:
        raise
    except Exception as error:
        if isinstance(error, ImportError) and isinstance(lacking := part_of(node).lacking(error), KdrunError):
            raise lacking from error
        said = str(error).strip().split("\n", 1)[0]
        if isinstance(error, IndexError | RuntimeError) and "out of bounds" in said:
            raise InputError(f"a label or number is beyond what it counts through ({said})", key=node.key) from error
        if (plugins := in_plugin(error)) is not None:
            raise RunError(plugins[0], key=node.key, where=plugins[1]) from error
        if isinstance(error, pickle.UnpicklingError):
            raise _pickled(node, graph) from error
        raise


def _pickled(node: Node, graph: Graph) -> InputError:
    """What is said of weights that a library would have to unpickle: nothing is."""
    models = [graph.nodes[ref.name] for ref in node.refs() if graph.nodes[ref.name].verb == "model"]
    named = ", ".join(str(model.params.get("name") or model.part) for model in models)
    return InputError(
        f"{f'the weights of {named}' if named else 'weights'} are a pickle of more than tensors, of which nothing is read: "
        "save them as safetensors",
        key=models[0].key if models else node.key,
    )


def _sizes(values: Mapping[str, Any]) -> dict[str, int]:
    from kdrun.data.dataset import Dataset
    from kdrun.models.building import sizes_from_data

    found: dict[str, int] = {}
    for value in values.values():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, Dataset):
                found = {**sizes_from_data(one.info), **found}
    return found


def _fitting(value: Any, annotation: str, context: Any, name: str) -> Any:
    """Build modules for parts that ask for them; everything else is passed as it is."""
    if "Module" in annotation:
        if isinstance(value, list):
            return [context.module(v, role=f"{name}.{i}") for i, v in enumerate(value)]
        return context.module(value, role=name)
    return value
