"""Compiling a step graph into flat programs over registers.

A program is a list of ``(function, input registers, output register)``; running it is

    for function, inputs, out in program: r[out] = function(*[r[i] for i in inputs])

Every update of a step sees the current parameters: what depends on a model that an earlier update of the
same step has changed is computed again, and everything else is computed once and shared.

The same programs run when a step is planned, on modules and batches of fake tensors, and when it trains.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from kdrun.grammar.nodes import Ref
from kdrun.grammar.steps import Update
from kdrun.step.emitter import Emitter, Instruction
from kdrun.step.layout import Bindings, Label, Layout
from kdrun.step.supply import Supply

__all__ = ["Compiler", "Segment"]


@dataclass
class Segment:
    """The program of one update: instructions, and registers of its loss terms with their weights."""

    update: Update
    instructions: list[Instruction]
    terms: list[tuple[str, int, Any]]
    retain: bool = False
    inner: Segment | None = None
    virtual: dict[str, int] = field(default_factory=dict)


class Compiler:
    """Turns a step into segments, for a given choice of the updates that run."""

    def __init__(self, supply: Supply) -> None:
        self.supply = supply
        self.step = supply.step

    @property
    def bound(self) -> Bindings:
        return self.supply.bound

    @property
    def layout(self) -> Layout:
        return self.supply.layout

    @property
    def generator(self) -> torch.Generator:
        return self.supply.generator

    @functools.cached_property
    def _depends(self) -> dict[str, set[str]]:
        return {name: self._models_of(name) for name in self.step.nodes}

    def _models_of(self, name: str) -> set[str]:
        """The models that a node's value depends on."""
        nodes = [self.step.nodes[n] for n in self.step.ancestors([name])]
        called = {n.role for n in nodes if n.node.verb == "call"}
        return called | {r.name for n in nodes for r in n.node.refs() if r.name in self.bound.modules}

    def function(
        self, refs: Iterable[Ref], batch: str = "data", done: dict[Label, int] | None = None, key: str = ""
    ) -> tuple[list[Instruction], list[int]]:
        """Instructions that compute ``refs`` from a batch, and the registers in which they end up.

        ``done``: what is computed already; it is added to.
        """
        emit = Emitter(self.supply, batch, {} if done is None else done)
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
        emit = Emitter(self.supply, update.batch, known)
        return Segment(update, emit.instructions, emit.terms(update))

    def _through(self, update: Update, known: dict[Label, int]) -> Segment:
        """An update evaluated after differentiable virtual steps of another one."""
        assert update.through is not None
        inner = next(u for u in self.step.updates if u.name == update.through["update"])
        virtual = {role: self.layout.new() for role in inner.roles()}
        moving = {*inner.roles(), *update.roles()}
        kept = self._still(known, moving)
        inside = Emitter(self.supply, inner.batch, dict(kept), virtual)
        inner_segment = Segment(inner, inside.instructions, inside.terms(inner))
        outside = Emitter(self.supply, update.batch, dict(kept), virtual)
        segment = Segment(update, outside.instructions, outside.terms(update), inner=inner_segment, virtual=virtual)
        for emitter in (inside, outside):
            known.update(self._still(emitter.done, moving))
        return segment

    def _still(self, known: Mapping[Label, int], moving: Collection[str]) -> dict[Label, int]:
        """What of ``known`` depends on none of the models that are ``moving``."""
        return {label: r for label, r in known.items() if not self._depends[_node(label)] & set(moving)}


def _node(label: Label) -> str:
    return label[0].partition(".")[0]
