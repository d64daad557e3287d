"""Compiling a step graph into flat programs over registers.

A program is a list of ``(function, input registers, output register)``; running it is

    for function, inputs, out in program: r[out] = function(*[r[i] for i in inputs])

Every update of a step sees the current parameters: what depends on a model that an earlier update of the
same step has changed is computed again, and everything else is computed once and shared.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter, itemgetter
from typing import Any

import torch
from torch import Tensor, nn

from kdrun.errors import InputError
from kdrun.grammar.nodes import Ref
from kdrun.grammar.steps import Step, StepNode, Update
from kdrun.registry import catalog
from kdrun.runtime.sharding import Shards
from kdrun.step.remembered import Lasting, Remembered
from kdrun.step.taps import Detour, inner_module, tap

__all__ = ["Call", "Compiler", "Instruction", "Roles", "Segment"]

Instruction = tuple[Callable[..., Any], tuple[int, ...], int]


@dataclass
class Roles:
    """What the names inside a step stand for.

    ``lasting``: the loaders whose rows are the same in every epoch; ``shards``: how calls are split among processes, and
    ``by_row`` those that may be.
    """

    modules: dict[str, nn.Module]
    tensors: dict[str, Any] = field(default_factory=dict)
    loaders: tuple[str, ...] = ("data",)
    lasting: Mapping[str, Lasting] = field(default_factory=dict)
    shards: Shards | None = None
    by_row: Collection[str] = ()


class Call:
    """One call of a module in a step, with its taps. ``functional`` is the same at other parameters."""

    def __init__(self, module: nn.Module, node: StepNode, *, trained: bool) -> None:
        module, self.prefix = inner_module(module, node.inner, key=f"{node.node.key}.call")
        self.module = module
        self.slots = {name: tap(module, path, key=f"{node.node.key}.taps.{name}") for name, path in node.taps.items()}
        self.options = node.params
        self.detach = node.detach
        self.mode = node.mode
        self.no_grad = not node.grad
        self.patched = bool(node.patch)
        partial_forward = bool(node.patch or node.until)
        self.detour = Detour(module, node.patch, node.until, key=node.node.key) if partial_forward else None
        self.plain = not (
            self.detach or self.no_grad or self.options or self.detour is not None or self._switches(trained)
        )

    def _switches(self, trained: bool) -> bool:
        return self.mode is not None and (self.mode == "train") != trained

    def counts(self) -> bool:
        """Whether the module keeps count of what it is asked."""
        return any(name.rpartition(".")[2] == "queries" for name, _ in self.module.named_buffers())

    def steady(self) -> bool:
        """Whether an untrained module says the same to the same rows: nothing is put into it, it learns and counts nothing."""
        return not (self.counts() or self.patched or self.module.training or self.mode == "train")

    def function(self) -> Callable[..., Any]:
        """The callable for the program: the module itself where nothing else is asked for."""
        return self.module if self.plain else self._call

    def _call(self, *inputs: Any) -> Any:
        return self._run(self.module, inputs)

    def functional(self, parameters: dict[str, Tensor], *inputs: Any) -> Any:
        """Evaluate at ``parameters`` instead of the module's own; differentiable with respect to them."""
        return self._run(partial(self._at, parameters), inputs)

    def _at(self, parameters: dict[str, Tensor], *inputs: Any, **options: Any) -> Any:
        if self.prefix:
            parameters = {n.removeprefix(self.prefix): p for n, p in parameters.items() if n.startswith(self.prefix)}
        # Running statistics that virtual steps would move are those of copies.
        buffers = {name: buffer.clone() for name, buffer in self.module.named_buffers()}
        return torch.func.functional_call(self.module, {**buffers, **parameters}, inputs, options)

    def _run(self, target: Callable[..., Any], inputs: tuple[Any, ...]) -> Any:
        if self.detach:
            inputs = tuple(i.detach() for i in inputs)
        with torch.no_grad() if self.no_grad else contextlib.nullcontext(), _mode(self.module, self.mode):
            if self.detour is not None:
                return self.detour.run(target, inputs, self.options)
            return target(*inputs, **self.options)


@contextlib.contextmanager
def _mode(module: nn.Module, mode: str | None) -> Any:
    if mode is None:
        yield
        return
    before = module.training
    module.train(mode == "train")
    try:
        yield
    finally:
        module.train(before)


@dataclass
class Segment:
    """The program of one update: instructions, and registers of its loss terms with their weights."""

    update: Update
    instructions: list[Instruction]
    terms: list[tuple[str, int, Any]]
    retain: bool = False
    inner: Segment | None = None
    virtual: dict[str, int] = field(default_factory=dict)


@dataclass
class Layout:
    """Registers shared by the segments of a step."""

    size: int = 0
    columns: list[tuple[int, str, str]] = field(default_factory=list)
    constants: dict[int, Any] = field(default_factory=dict)

    def new(self) -> int:
        self.size += 1
        return self.size - 1


class Compiler:
    """Turns a step into segments, for a given choice of the updates that run."""

    def __init__(self, step: Step, roles: Roles, outputs: Mapping[str, str], generator: torch.Generator) -> None:
        self.step = step
        self.roles = roles
        self.outputs = outputs
        self.generator = generator
        self.layout = Layout()
        trained = set(step.trained())
        self.calls = {
            name: Call(roles.modules[node.role], node, trained=node.role in trained)
            for name, node in step.nodes.items()
            if node.node.verb == "call" and node.role in roles.modules
        }
        self._fixed: dict[Any, int] = {}
        self._remembered: dict[tuple[str, str], Remembered] = {}
        self._depends = {name: self._roles_of(name) for name in step.nodes}

    def _roles_of(self, name: str) -> set[str]:
        nodes = [self.step.nodes[n] for n in self.step.ancestors([name])]
        return {n.role for n in nodes if n.node.verb == "call"} | {
            ref.name for n in nodes for ref in n.node.refs() if ref.name in self.roles.modules
        }

    def function(self, refs: Iterable[Ref], batch: str = "data") -> tuple[list[Instruction], list[int]]:
        """Instructions that compute ``refs`` from a batch, and the registers in which they end up."""
        emit = _Emitter(self, batch, {})
        registers = [emit.value(ref) for ref in refs]
        return emit.instructions, registers

    def compile(self, active: Iterable[Update]) -> list[Segment]:
        """Segments for the ``active`` updates of one step, in order."""
        segments: list[Segment] = []
        done: dict[tuple[str, str], int] = {}
        changed: set[str] = set()
        for update in active:
            done = {k: r for k, r in done.items() if not (self._depends[k[0].split(".")[0]] & changed)}
            before = set(done)
            segment = self._through(update, done) if update.through else self._plain(update, done)
            if segments and any(self._depends[n.split(".")[0]] & set(self.step.trained()) for n, _ in before):
                for earlier in segments:
                    earlier.retain = True
            segments.append(segment)
            changed = set(update.roles())
        return segments

    def _plain(self, update: Update, done: dict[tuple[str, str], int]) -> Segment:
        emit = _Emitter(self, update.batch, done)
        return Segment(update, emit.instructions, emit.terms(update))

    def _through(self, update: Update, done: dict[tuple[str, str], int]) -> Segment:
        """An update evaluated after differentiable virtual steps of another one."""
        assert update.through is not None
        inner = next(u for u in self.step.updates if u.name == update.through["update"])
        virtual = {role: self.layout.new() for role in inner.roles()}
        kept = {
            k: r for k, r in done.items() if not self._depends[k[0].split(".")[0]] & {*inner.roles(), *update.roles()}
        }
        inside = _Emitter(self, inner.batch, dict(kept), virtual)
        inner_segment = Segment(inner, inside.instructions, inside.terms(inner))
        outside = _Emitter(self, update.batch, dict(kept), virtual)
        segment = Segment(update, outside.instructions, outside.terms(update), inner=inner_segment, virtual=virtual)
        for emitter in (inside, outside):
            done.update(
                {
                    k: r
                    for k, r in emitter.done.items()
                    if not self._depends[k[0].split(".")[0]] & {*inner.roles(), *update.roles()}
                }
            )
        return segment

    def splits(self, step_node: StepNode) -> bool:
        """Whether the call is split among processes."""
        by_row = self.roles.shards is not None and step_node.name in self.roles.by_row
        return by_row and not self.calls[step_node.name].counts()

    def remembers(self, step_node: StepNode, loader: str) -> bool:
        """Whether the call's answers are kept by the rows of ``loader``: they are the same in every epoch."""
        lasting = loader in self.roles.lasting and step_node.role not in self.step.trained()
        return lasting and self.calls[step_node.name].steady()

    def asked(self, step_node: StepNode, *, virtual: bool = False) -> Callable[..., list[Any]]:
        """The call as a function that gives its output and its taps; at other parameters, its first input, if ``virtual``."""
        call = self.calls[step_node.name]
        function = call.functional if virtual else _named(call.function(), step_node)
        slots = tuple(call.slots.values())

        def ask(*inputs: Any) -> list[Any]:
            return [function(*inputs), *(slot.take() for slot in slots)]

        if self.roles.shards is not None and self.splits(step_node):
            return self.roles.shards.split(ask, whole=int(virtual))
        return ask

    def remembered(self, step_node: StepNode, loader: str) -> Remembered:
        """The call with its answers kept by the rows of ``loader``."""
        label = (step_node.name, loader)
        if label not in self._remembered:
            self._remembered[label] = Remembered(self.asked(step_node), self.roles.lasting[loader])
        return self._remembered[label]

    def column(self, loader: str, name: str) -> int:
        register = self._fixed.get(("column", loader, name))
        if register is None:
            register = self._fixed["column", loader, name] = self.layout.new()
            self.layout.columns.append((register, loader, name))
        return register

    def constant(self, ref: Ref) -> int:
        register = self._fixed.get(ref)
        if register is None:
            register = self._fixed[ref] = self.layout.new()
            self.layout.constants[register] = self._constant_value(ref)
        return register

    def _constant_value(self, ref: Ref) -> Any:
        if ref.name in self.roles.modules:
            return dict(self.roles.modules[ref.name].named_parameters())
        value = self.roles.tensors[ref.name]
        for piece in ref.field:
            value = value[piece] if isinstance(value, dict) else value[int(piece)]
        return value


class _Emitter:
    """Writes the instructions that one update needs, sharing what was computed before."""

    def __init__(
        self, compiler: Compiler, batch: str, done: dict[tuple[str, str], int], virtual: Mapping[str, int] | None = None
    ) -> None:
        self.compiler = compiler
        self.batch = batch
        self.done = done
        self.virtual = virtual or {}
        self.instructions: list[Instruction] = []

    def terms(self, update: Update) -> list[tuple[str, int, Any]]:
        """Emit what the update minimizes; a term of constant weight 0 is left out."""
        chosen = {n: w for n, w in update.minimize.items() if isinstance(w, dict) or w != 0}
        if not chosen:
            raise InputError("all weights of this update are 0: nothing to minimize", key=f"{update.key}.minimize")
        return [(name, self.value(Ref.parse(name, key=update.key)), weight) for name, weight in chosen.items()]

    def value(self, ref: Ref) -> int:
        """The register holding ``ref``, computed if it is not there yet."""
        if ref.name == "batch":
            return self.compiler.column(self.batch, ref.field[0])
        if ref.name in self.compiler.roles.loaders:
            return self.compiler.column(ref.name, ref.field[0])
        if ref.name not in self.compiler.step.nodes:
            return self._role(ref)
        label = (str(ref), self._loader(ref.name))
        if label not in self.done:
            self._node(ref.name)
            if label not in self.done:
                self.done[label] = self._field(ref, label[1])
        return self.done[label]

    def _role(self, ref: Ref) -> int:
        if ref.name in self.virtual:
            return self.virtual[ref.name]
        return self.compiler.constant(Ref(ref.name, () if ref.name in self.compiler.roles.modules else ref.field))

    def _loader(self, name: str) -> str:
        """A node that reads no batch is the same for every loader."""
        nodes = self.compiler.step.ancestors([name])
        reads = any(r.name == "batch" for n in nodes for r in self.compiler.step.nodes[n].node.refs())
        return self.batch if reads else ""

    def _node(self, name: str) -> None:
        label = (name, self._loader(name))
        if label in self.done:
            return
        step_node = self.compiler.step.nodes[name]
        if step_node.node.verb == "op":
            self._op(step_node, label)
        else:
            self._call(step_node, label)

    def _op(self, step_node: StepNode, label: tuple[str, str]) -> None:
        part = catalog().get("op", step_node.node.part)
        bound = part.bind(step_node.node.inputs, key=step_node.node.key)
        options = dict(step_node.params)
        if "generator" in part.injected:
            options["generator"] = self.compiler.generator
        function = partial(part.load(), **options) if options else part.load()
        registers: list[int] = []
        names: list[str] = []
        for item in part.inputs:
            if item.name not in bound:
                continue
            given = bound[item.name]
            if item.variadic:
                registers += [self.value(ref) for ref in given]
            elif isinstance(given, list):
                registers.append(self._emit(_as_list, tuple(self.value(ref) for ref in given)))
            else:
                registers.append(self.value(given))
            names.append(item.name)
        expected = [i.name for i in part.inputs][: len(names)]
        if names != expected:
            function = _by_name(function, names)
        self.done[label] = self._emit(function, tuple(registers))

    def _call(self, step_node: StepNode, label: tuple[str, str]) -> None:
        call = self.compiler.calls[step_node.name]
        registers = tuple(self.value(ref) for ref in step_node.node.refs())
        virtual = step_node.role in self.virtual
        if virtual:
            registers = (self.virtual[step_node.role], *registers)
        loader = None if virtual else self._lasting_rows(step_node)
        if loader is not None:
            remembered = self.compiler.remembered(step_node, loader)
            answers = self._emit(remembered, (self.compiler.column(loader, "index"), *registers))
        elif self.compiler.splits(step_node):
            answers = self._emit(self.compiler.asked(step_node, virtual=virtual), registers)
        else:
            function = call.functional if virtual else _named(call.function(), step_node)
            self.done[label] = self._emit(function, registers)
            for name, slot in call.slots.items():
                self.done[f"{step_node.name}.{name}", label[1]] = self._emit(slot.take, ())
            return
        self.done[label] = self._emit(itemgetter(0), (answers,))
        for place, name in enumerate(call.slots, 1):
            self.done[f"{step_node.name}.{name}", label[1]] = self._emit(itemgetter(place), (answers,))

    def _lasting_rows(self, step_node: StepNode) -> str | None:
        """The loader by whose rows the call's answers may be kept: it reads columns of that one alone."""
        loaders = {self.batch if r.name == "batch" else r.name for r in step_node.node.refs()}
        if len(loaders) != 1:
            return None
        loader = loaders.pop()
        return loader if self.compiler.remembers(step_node, loader) else None

    def _field(self, ref: Ref, loader: str) -> int:
        """A field of a node's value: a model's output, or an entry of what an op returned."""
        out = self.done[ref.name, loader]
        field = ref.field[0]
        node = self.compiler.step.nodes[ref.name].node
        if node.verb == "op":
            return self._emit(itemgetter(int(field) if field.isdigit() else field), (out,))
        kind = self.compiler.outputs.get(ref.name, "tensor")
        if field == "probabilities":
            logits = self.value(Ref(ref.name, ("logits",)))
            return self._emit(_softmax, (logits,))
        if kind == "tensor":
            if field in ("logits", "output"):
                return out
            raise InputError(f"'{ref.name}' has no field '{field}': add a tap of that name", key=node.key)
        if field == "output":
            return out
        return self._emit(itemgetter(field) if kind == "mapping" else attrgetter(field), (out,))

    def _emit(self, function: Callable[..., Any], inputs: tuple[int, ...]) -> int:
        out = self.compiler.layout.new()
        self.instructions.append((function, inputs, out))
        return out


def _as_list(*values: Any) -> list[Any]:
    return list(values)


def _softmax(logits: Tensor) -> Tensor:
    return logits.softmax(dim=-1)


def _named(function: Callable[..., Any], step_node: StepNode) -> Callable[..., Any]:
    """The function of a call, taking its inputs in order where the node names them."""
    inputs = step_node.node.inputs
    return _by_name(function, list(inputs)) if isinstance(inputs, dict) else function


def _by_name(function: Callable[..., Any], names: list[str]) -> Callable[..., Any]:
    def call(*values: Any) -> Any:
        return function(**dict(zip(names, values, strict=True)))

    return call
