"""Running a step's instructions on fake tensors: what a value will look like, with no data, no weights and no device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from kdrun.data.dataset import Column
from kdrun.errors import InputError, KdrunError, nearest
from kdrun.grammar.nodes import Ref
from kdrun.grammar.steps import Step, StepNode
from kdrun.models.building import is_resolved
from kdrun.models.modes import rest_frozen_statistics
from kdrun.registry import Part, catalog
from kdrun.runtime.fakes import fake_module
from kdrun.step.compiler import Compiler
from kdrun.step.emitter import Instruction
from kdrun.step.layout import Bindings, Label, Layout
from kdrun.step.sizes import Sizes
from kdrun.step.supply import Supply

__all__ = ["Rehearsal", "shape_text"]


class Rehearsal:
    """A step on fake modules and fake batches; to be used inside a fake mode.

    ``specs`` of its models are completed as sizes are found. ``tensors`` are fake, ``columns`` the row shapes of each loader.
    """

    def __init__(
        self,
        step: Step,
        specs: dict[str, dict[str, Any]],
        tensors: Mapping[str, Any],
        columns: Mapping[str, Mapping[str, Column]],
        batch_size: int,
    ) -> None:
        self.step, self.specs, self.columns, self.batch_size = step, specs, columns, batch_size
        self.modules: dict[str, nn.Module] = {}
        bound = Bindings(self.modules, dict(tensors), columns)
        self.compiler = Compiler(Supply(step, bound, torch.Generator(), shape_of=_stated))
        self.batches: dict[str, dict[str, Tensor]] = {}
        self.registers: list[Any] = []
        self.done: dict[Label, int] = {}
        self.sizes = Sizes(step, specs, self.value, self.build)
        for role in [role for role, spec in specs.items() if is_resolved(spec)]:
            self.build(role)

    @property
    def layout(self) -> Layout:
        return self.compiler.layout

    def build(self, role: str) -> None:
        """Make the fake module of a role, frozen where no update trains it."""
        module = fake_module(self.specs[role], role=role)
        module.train(role in self.step.trained())
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(parameter.requires_grad and self.step.trains(role, name))
        rest_frozen_statistics(module)
        self.modules[role] = module

    def value(self, ref: Ref, loader: str = "data", key: str = "") -> Any:
        """The value of a reference, computed if it is not there yet; sizes that it needs are found first."""
        self.sizes.find(self.step.ancestors([ref.name]), loader)
        instructions, (register,) = self.compiler.function([ref], loader, self.done, key)
        self.run(instructions)
        return self.registers[register]

    def run(self, instructions: list[Instruction]) -> None:
        """Run instructions; torch's complaint about shapes becomes one line that names the node and what it was given."""
        r = self._filled()
        for function, inputs, out in instructions:
            given = [r[i] for i in inputs]
            try:
                r[out] = function(*given)
            except KdrunError:
                raise
            except Exception as error:
                node = self.layout.origins.get(out)
                if node is None:
                    raise
                raise _misfit(node, given, error) from error

    def _filled(self) -> list[Any]:
        """The registers, grown to the layout's size, with constants and batches in them."""
        new = range(len(self.registers), self.layout.size)
        self.registers += [self.layout.constants.get(i) for i in new]
        for register, loader, column in self.layout.columns:
            if self.registers[register] is None:
                self.registers[register] = self._column(loader, column, self.layout.readers[register])
        return self.registers

    def _column(self, loader: str, name: str, key: str) -> Tensor:
        columns = self.columns.get(loader, {})
        if name not in columns and name != "index":
            raise InputError(
                f"the data has no column '{name}'{nearest(name, columns)}; it has: {', '.join(columns)}", key=key
            )
        batch = self.batches.setdefault(loader, {})
        if name not in batch:
            described = columns.get(name, Column((), torch.int64))
            batch[name] = torch.empty((self.batch_size, *described.shape), dtype=described.dtype)
        return batch[name]


def _stated(part: Part) -> Callable[..., Any] | None:
    """What an op says of its result's shape, where it cannot run on fake tensors."""
    hook = catalog().hook("shape_of", f"op {part.name}")
    return None if hook is None else hook.load()


def _misfit(node: StepNode, given: list[Any], error: Exception) -> InputError:
    refs = list(node.node.refs())
    if node.node.verb == "call":  # parameters may stand before its inputs, a mask behind them
        given = given[1:] if given and isinstance(given[0], dict) else given
        given = given[: len(refs)]
    values = given[len(given) - len(refs) :]
    shown = ", ".join(f"{ref} {shape_text(v)}" for ref, v in zip(refs, values, strict=False))
    reason = str(error).strip().split("\n", 1)[0][:200]
    return InputError(
        f"'{node.name}' ({node.node.verb} {node.node.part}) does not fit its inputs {shown}: {reason}",
        key=node.node.key,
    )


def shape_text(value: Any) -> Any:
    """The shape of a tensor as a list, of what holds tensors as the same holding shapes, else the name of its type."""
    if isinstance(value, Tensor):
        return list(value.shape)
    if isinstance(value, Mapping):
        return {k: shape_text(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [shape_text(v) for v in value]
    return type(value).__name__
