"""Compiling a step graph into flat programs over registers.

A program is a list of ``(function, input registers, output register)``; running it is

    for function, inputs, out in program: r[out] = function(*[r[i] for i in inputs])

Every update of a step sees the current parameters: what depends on a model that an earlier update of the
same step has changed is computed again, and everything else is computed once and shared.

The same programs run when a step is planned, on modules and batches of fake tensors, and when it trains.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from kdrun.errors import InputError
from kdrun.grammar.nodes import Ref
from kdrun.grammar.steps import Step, StepNode, Update
from kdrun.registry import Part
from kdrun.runtime.sharding import Shards
from kdrun.step.calls import Call
from kdrun.step.emitter import Emitter, Instruction, by_order
from kdrun.step.remembered import Lasting, Remembered

__all__ = ["Bindings", "Compiler", "Layout", "Segment"]

Label = tuple[str, str]
"""What stands in a register: a node, or a node and its field, and the loader that it reads."""


@dataclass
class Bindings:
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
    """Registers shared by the segments of a step.

    ``columns``: register, loader and column; ``readers``: where in the configuration a column is read first; ``origins``:
    the node whose value a register holds; ``made``: where a value, or a tap of it, was put last; ``read``: what a call read.
    """

    size: int = 0
    columns: list[tuple[int, str, str]] = field(default_factory=list)
    constants: dict[int, Any] = field(default_factory=dict)
    readers: dict[int, str] = field(default_factory=dict)
    origins: dict[int, StepNode] = field(default_factory=dict)
    made: dict[Label, int] = field(default_factory=dict)
    read: dict[Label, tuple[int, ...]] = field(default_factory=dict)

    def new(self) -> int:
        self.size += 1
        return self.size - 1

    def template(self) -> list[Any]:
        """All registers, with the constants in theirs."""
        r: list[Any] = [None] * self.size
        for register, value in self.constants.items():
            r[register] = value
        return r


class Compiler:
    """Turns a step into segments, for a given choice of the updates that run.

    ``outputs`` says per call whether the model returns a tensor, a mapping or an object; what is not known is found out when
    the program runs. ``shape_of`` may give another function for an op.
    """

    def __init__(
        self,
        step: Step,
        bound: Bindings,
        generator: torch.Generator,
        outputs: Mapping[str, str] | None = None,
        shape_of: Callable[[Part], Callable[..., Any] | None] | None = None,
    ) -> None:
        self.step = step
        self.bound = bound
        self.outputs = outputs or {}
        self.generator = generator
        self.layout = Layout()
        self._shape_of = shape_of
        self._calls: dict[str, Call] = {}
        self._fixed: dict[Any, int] = {}
        self._remembered: dict[Label, Remembered] = {}

    @functools.cached_property
    def _depends(self) -> dict[str, set[str]]:
        return {name: self._models_of(name) for name in self.step.nodes}

    def _models_of(self, name: str) -> set[str]:
        """The models that a node's value depends on."""
        nodes = [self.step.nodes[n] for n in self.step.ancestors([name])]
        called = {n.role for n in nodes if n.node.verb == "call"}
        return called | {r.name for n in nodes for r in n.node.refs() if r.name in self.bound.modules}

    def call(self, name: str) -> Call:
        """The call that the node of that name makes, with its taps in place."""
        if name not in self._calls:
            node = self.step.nodes[name]
            if node.role not in self.bound.modules:
                raise InputError(f"the sizes of '{node.role}' are not known where it is called", key=node.node.key)
            self._calls[name] = Call(self.bound.modules[node.role], node, trained=node.role in self.step.trained())
        return self._calls[name]

    def function_of(self, part: Part) -> Callable[..., Any]:
        """What computes an op."""
        stated = self._shape_of(part) if self._shape_of is not None else None
        return stated if stated is not None else part.load()

    def function(
        self, refs: Iterable[Ref], batch: str = "data", done: dict[Label, int] | None = None, key: str = ""
    ) -> tuple[list[Instruction], list[int]]:
        """Instructions that compute ``refs`` from a batch, and the registers in which they end up.

        ``done``: what is computed already; it is added to.
        """
        emit = Emitter(self, batch, {} if done is None else done)
        registers = [emit.value(ref, key) for ref in refs]
        return emit.instructions, registers

    def compile(self, active: Iterable[Update]) -> list[Segment]:
        """Segments for the ``active`` updates of one step, in order."""
        segments: list[Segment] = []
        known: dict[Label, int] = {}
        changed: set[str] = set()
        for update in active:
            known = {label: r for label, r in known.items() if not self._depends[_node(label)] & changed}
            before = set(known)
            segment = self._through(update, known) if update.through else self._plain(update, known)
            if segments and any(self._depends[_node(label)] & set(self.step.trained()) for label in before):
                for earlier in segments:
                    earlier.retain = True
            segments.append(segment)
            changed = set(update.roles())
        return segments

    def _plain(self, update: Update, known: dict[Label, int]) -> Segment:
        emit = Emitter(self, update.batch, known)
        return Segment(update, emit.instructions, emit.terms(update))

    def _through(self, update: Update, known: dict[Label, int]) -> Segment:
        """An update evaluated after differentiable virtual steps of another one."""
        assert update.through is not None
        inner = next(u for u in self.step.updates if u.name == update.through["update"])
        virtual = {role: self.layout.new() for role in inner.roles()}
        moving = {*inner.roles(), *update.roles()}
        kept = self._still(known, moving)
        inside = Emitter(self, inner.batch, dict(kept), virtual)
        inner_segment = Segment(inner, inside.instructions, inside.terms(inner))
        outside = Emitter(self, update.batch, dict(kept), virtual)
        segment = Segment(update, outside.instructions, outside.terms(update), inner=inner_segment, virtual=virtual)
        for emitter in (inside, outside):
            known.update(self._still(emitter.done, moving))
        return segment

    def _still(self, known: Mapping[Label, int], moving: Collection[str]) -> dict[Label, int]:
        """What of ``known`` depends on none of the models that are ``moving``."""
        return {label: r for label, r in known.items() if not self._depends[_node(label)] & set(moving)}

    def splits(self, step_node: StepNode) -> bool:
        """Whether the call is split among processes."""
        by_row = self.bound.shards is not None and step_node.name in self.bound.by_row
        return by_row and not self.call(step_node.name).counts()

    def remembers(self, step_node: StepNode, loader: str) -> bool:
        """Whether the call's answers are kept by the rows of ``loader``: they are the same in every epoch."""
        lasting = loader in self.bound.lasting and step_node.role not in self.step.trained()
        return lasting and self.call(step_node.name).steady()

    def asked(self, step_node: StepNode, *, virtual: bool = False) -> Callable[..., list[Any]]:
        """The call as a function that gives its output and its taps; at other parameters, its first input, if ``virtual``."""
        call = self.call(step_node.name)
        function = call.functional if virtual else by_order(call.function(), step_node)
        slots = tuple(call.slots.values())

        def ask(*inputs: Any) -> list[Any]:
            return [function(*inputs), *(slot.take() for slot in slots)]

        if self.bound.shards is not None and self.splits(step_node):
            return self.bound.shards.split(ask, whole=int(virtual))
        return ask

    def remembered(self, step_node: StepNode, loader: str) -> Remembered:
        """The call with its answers kept by the rows of ``loader``."""
        label = (step_node.name, loader)
        if label not in self._remembered:
            self._remembered[label] = Remembered(self.asked(step_node), self.bound.lasting[loader])
        return self._remembered[label]

    def column(self, loader: str, name: str, key: str = "") -> int:
        """The register of a column of a loader's batch."""
        register = self._fixed.get(("column", loader, name))
        if register is None:
            register = self._fixed["column", loader, name] = self.layout.new()
            self.layout.columns.append((register, loader, name))
            self.layout.readers[register] = key
        return register

    def constant(self, ref: Ref, key: str = "") -> int:
        """The register of what was handed in: a tensor, or the parameters of a model by name."""
        register = self._fixed.get(ref)
        if register is None:
            register = self._fixed[ref] = self.layout.new()
            self.layout.constants[register] = self._constant_value(ref, key)
        return register

    def _constant_value(self, ref: Ref, key: str) -> Any:
        if ref.name in self.bound.modules:
            return dict(self.bound.modules[ref.name].named_parameters())
        if ref.name not in self.bound.tensors:
            raise InputError(f"the sizes of '{ref.name}' are not known where it is read", key=key)
        value = self.bound.tensors[ref.name]
        for piece in ref.field:
            value = value[piece] if isinstance(value, dict) else value[int(piece)]
        return value


def _node(label: Label) -> str:
    return label[0].partition(".")[0]
