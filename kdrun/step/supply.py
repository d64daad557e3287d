"""What the instructions of a step are made of: calls and ops as functions, columns and constants in registers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

import torch

from kdrun.errors import InputError
from kdrun.grammar.nodes import Ref
from kdrun.grammar.steps import Step, StepNode
from kdrun.models.masks import mask_column
from kdrun.models.taps import place_of
from kdrun.optim.schedules import Progress
from kdrun.registry import Part
from kdrun.step.calls import Call
from kdrun.step.layout import Bindings, Label, Layout
from kdrun.step.remembered import Remembered
from kdrun.step.shared import Shared, identity
from kdrun.step.trainable import make_schedule

__all__ = ["Supply", "by_name"]


class Supply:
    """Hands out what the names in ``step`` stand for.

    ``outputs`` says per call whether the model returns a tensor, a mapping or an object; what is not known is found out when
    the program runs. ``moment``: where training stands, for parameters of ops that schedules give. ``shape_of`` may give another function for an op. ``copied`` names, per call, the taps to be copied; None:
    each call finds out.
    """

    def __init__(
        self,
        step: Step,
        bound: Bindings,
        generator: torch.Generator,
        outputs: Mapping[str, str] | None = None,
        shape_of: Callable[[Part], Callable[..., Any] | None] | None = None,
        copied: Mapping[str, Collection[str]] | None = None,
    ) -> None:
        self.step, self.bound, self.generator, self.copied = step, bound, generator, copied
        self.outputs = outputs or {}
        self.layout = Layout()
        self.moment = Progress(step=0, steps=1, epoch=0, epochs=1, steps_per_epoch=1)
        self._shape_of = shape_of
        self._calls: dict[str, Call] = {}
        self._fixed: dict[Any, int] = {}
        self._remembered: dict[Label, Remembered] = {}

    @property
    def spoilt(self) -> dict[str, set[str]]:
        """Per call, the taps whose values were changed in place."""
        return {name: call.spoilt for name, call in self._calls.items() if call.spoilt}

    def call(self, name: str) -> Call:
        """The call that the node of that name makes, with its taps in place."""
        if name not in self._calls:
            node = self.step.nodes[name]
            if node.role not in self.bound.modules:
                raise InputError(f"the sizes of '{node.role}' are not known where it is called", key=node.node.key)
            copied = None if self.copied is None else self.copied.get(name, ())
            self._calls[name] = Call(self.bound.modules[node.role], node, copied=copied)
        return self._calls[name]

    def function_of(self, part: Part) -> Callable[..., Any]:
        """What computes an op."""
        stated = self._shape_of(part) if self._shape_of is not None else None
        return stated if stated is not None else part.load()

    def timed(self, function: Callable[..., Any], step_node: StepNode) -> Callable[..., Any]:
        """An op whose scheduled parameters have the values of the moment; before training, those of its start."""
        schedules = {name: make_schedule(content) for name, content in step_node.scheduled().items()}

        def call(*inputs: Any, **named: Any) -> Any:
            return function(*inputs, **named, **{name: at(self.moment) for name, at in schedules.items()})

        return call

    def splits(self, step_node: StepNode) -> bool:
        """Whether the call is split among processes."""
        by_row = self.bound.shards is not None and step_node.name in self.bound.by_row
        return by_row and not self.call(step_node.name).counts()

    def remembers(self, step_node: StepNode, loader: str) -> bool:
        """Whether the call's answers are kept by the rows of ``loader``: they are the same in every epoch."""
        lasting = loader in self.bound.lasting and step_node.role not in self.step.trained()
        return lasting and self.call(step_node.name).steady()

    def shares(self, step_node: StepNode) -> bool:
        """Whether the call's answers are shared with other runs: the model is frozen, and asked whole by this process."""
        frozen = self.bound.shelf is not None and step_node.role not in self.step.trained()
        return frozen and self.bound.shards is None and self.call(step_node.name).steady()

    def mask(self, step_node: StepNode, batch: str) -> int | None:
        """The register of the mask that stands beside the tokens that a call reads, if it reads these alone and takes a mask.

        ``batch`` is the loader that ``batch`` means.
        """
        (ref, *_) = step_node.node.refs()
        loader = batch if ref.name == "batch" else ref.name
        if loader not in self.bound.columns or not ref.field or self.call(step_node.name).mask_word() is None:
            return None
        name = mask_column(self.bound.columns[loader], ref.field[0])
        return None if name is None else self.column(loader, name)

    def function_of_call(self, step_node: StepNode, *, masked: bool, virtual: bool = False) -> Callable[..., Any]:
        """The call as a function of its inputs in order, behind them a mask, at other parameters, its first input, if ``virtual``."""
        call = self.call(step_node.name)
        function = call.functional if virtual else call.function()
        names = list(step_node.node.inputs) if isinstance(step_node.node.inputs, dict) else []
        word = call.mask_word() if masked else None
        return by_last_names(function, [*names, *([word] if word else [])])

    def asked(self, step_node: StepNode, *, masked: bool, virtual: bool = False) -> Callable[..., list[Any]]:
        """The call as a function (``function_of_call``) that gives its output and its taps."""
        function = self.function_of_call(step_node, masked=masked, virtual=virtual)
        slots = tuple(self.call(step_node.name).slots.values())

        def ask(*inputs: Any) -> list[Any]:
            return [function(*inputs), *(slot.take() for slot in slots)]

        if self.bound.shards is not None and self.splits(step_node):
            return self.bound.shards.split(ask, whole=int(virtual))
        return ask

    def remembered(self, step_node: StepNode, loader: str, *, masked: bool) -> Remembered:
        """The call with its answers kept by the rows of ``loader``."""
        label = (step_node.name, loader)
        if label not in self._remembered:
            self._remembered[label] = Remembered(self.asked(step_node, masked=masked), self.bound.lasting[loader])
        return self._remembered[label]

    def shared(self, step_node: StepNode, *, masked: bool) -> Shared:
        """The call with its answers shared with other runs."""
        bound, call = self.bound, self.call(step_node.name)
        assert bound.shelf is not None
        name = partial(identity, call.module, step_node, {**bound.numerics, "masked": masked})
        taps = [place_of(call.module, path) for path in step_node.taps.values()]
        return Shared(call.module, self.asked(step_node, masked=masked), name, bound.shelf, taps)

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


def by_last_names(function: Callable[..., Any], names: list[str]) -> Callable[..., Any]:
    """A function whose last inputs have these names as one of positional inputs."""
    if not names:
        return function

    def call(*values: Any) -> Any:
        first = len(values) - len(names)
        return function(*values[:first], **dict(zip(names, values[first:], strict=True)))

    return call


def by_name(function: Callable[..., Any], names: list[str]) -> Callable[..., Any]:
    """A function of named arguments as one of positional ones, in the order of ``names``."""

    def call(*values: Any) -> Any:
        return function(**dict(zip(names, values, strict=True)))

    return call
