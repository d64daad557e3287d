"""Writing the instructions of a step: from the references that an update reads to functions over registers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from operator import attrgetter, itemgetter
from typing import Any

from torch import Tensor

from kdrun.errors import InputError, nearest
from kdrun.grammar.nodes import Ref
from kdrun.grammar.steps import StepNode, Update
from kdrun.registry import catalog
from kdrun.step.supply import Supply, by_name

__all__ = ["Emitter", "Instruction"]

Instruction = tuple[Callable[..., Any], tuple[int, ...], int]


class Emitter:
    """Writes the instructions that one update needs, sharing what was computed before.

    ``done`` holds the register of what is computed by name and loader; ``virtual`` those of parameters that an inner update has moved.
    """

    def __init__(
        self, supply: Supply, batch: str, done: dict[tuple[str, str], int], virtual: Mapping[str, int] | None = None
    ) -> None:
        self.supply = supply
        self.batch = batch
        self.done = done
        self.virtual = virtual or {}
        self.instructions: list[Instruction] = []

    def terms(self, update: Update) -> list[tuple[str, int, Any]]:
        """Emit what the update minimizes; a term of constant weight 0 is left out."""
        chosen = {n: w for n, w in update.minimize.items() if isinstance(w, dict) or w != 0}
        if not chosen:
            raise InputError("all weights of this update are 0: nothing to minimize", key=f"{update.key}.minimize")
        return [
            (name, self.value(Ref.parse(name, key=update.key), update.key), weight) for name, weight in chosen.items()
        ]

    def value(self, ref: Ref, key: str = "") -> int:
        """The register holding ``ref``, read at ``key`` of the configuration; computed if it is not there yet."""
        if ref.name == "batch":
            return self.supply.column(self.batch, ref.field[0], key)
        if ref.name in self.supply.bound.loaders:
            return self.supply.column(ref.name, ref.field[0], key)
        if ref.name not in self.supply.step.nodes:
            return self._role(ref, key)
        label = (str(ref), self._loader(ref.name))
        if label not in self.done:
            self._node(ref.name)
            if label not in self.done:
                self.done[label] = self._field(ref, label[1], key)
        return self.done[label]

    def _role(self, ref: Ref, key: str) -> int:
        if ref.name in self.virtual:
            return self.virtual[ref.name]
        return self.supply.constant(Ref(ref.name, () if ref.name in self.supply.bound.modules else ref.field), key)

    def _loader(self, name: str) -> str:
        """A node that reads no batch is the same for every loader."""
        nodes = self.supply.step.ancestors([name])
        reads = any(r.name == "batch" for n in nodes for r in self.supply.step.nodes[n].node.refs())
        return self.batch if reads else ""

    def _node(self, name: str) -> None:
        label = (name, self._loader(name))
        if label in self.done:
            return
        step_node = self.supply.step.nodes[name]
        if step_node.node.verb == "op":
            self._op(step_node, label)
        else:
            self._call(step_node, label)

    def _op(self, step_node: StepNode, label: tuple[str, str]) -> None:
        part = catalog().get("op", step_node.node.part)
        given = part.bind(step_node.node.inputs, key=step_node.node.key)
        key = f"{step_node.node.key}.from"
        options = dict(step_node.params)
        if "generator" in part.injected:
            options["generator"] = self.supply.generator
        function = self.supply.function_of(part)
        for name in step_node.scheduled():
            options.pop(name)
        function = partial(function, **options) if options else function
        if step_node.scheduled():
            function = self.supply.timed(function, step_node)
        registers: list[int] = []
        names: list[str] = []
        for item in part.inputs:
            if item.name not in given:
                continue
            refs = given[item.name]
            if item.variadic:
                registers += [self.value(ref, key) for ref in refs]
            elif isinstance(refs, list):
                registers.append(self._emit(_as_list, tuple(self.value(ref, key) for ref in refs)))
            else:
                registers.append(self.value(refs, key))
            names.append(item.name)
        if names != [i.name for i in part.inputs][: len(names)]:
            function = by_name(function, names)
        self._made(label, self._emit(function, tuple(registers), step_node))

    def _call(self, step_node: StepNode, label: tuple[str, str]) -> None:
        call = self.supply.call(step_node.name)
        registers = tuple(self.value(ref, f"{step_node.node.key}.from") for ref in step_node.node.refs())
        mask = self.supply.mask(step_node, self.batch) if registers else None
        masked = mask is not None
        registers = registers if mask is None else (*registers, mask)
        self.supply.layout.read[label] = registers
        virtual = step_node.role in self.virtual
        if virtual:
            registers = (self.virtual[step_node.role], *registers)
        loader = None if virtual else self._loader_read(step_node)
        if loader is not None and self.supply.remembers(step_node, loader):
            remembered = self.supply.remembered(step_node, loader, masked=masked)
            answers = self._emit(remembered, (self.supply.column(loader, "index"), *registers))
        elif loader is not None and self.supply.shares(step_node):
            answers = self._emit(self.supply.shared(step_node, masked=masked), registers)
        elif self.supply.splits(step_node):
            answers = self._emit(self.supply.asked(step_node, masked=masked, virtual=virtual), registers)
        else:
            function = self.supply.function_of_call(step_node, masked=masked, virtual=virtual)
            self._made(label, self._emit(function, registers, step_node))
            for name, slot in call.slots.items():
                self._made((f"{step_node.name}.{name}", label[1]), self._emit(slot.take, ()))
            return
        self._made(label, self._emit(itemgetter(0), (answers,)))
        for place, name in enumerate(call.slots, 1):
            self._made((f"{step_node.name}.{name}", label[1]), self._emit(itemgetter(place), (answers,)))

    def _made(self, label: tuple[str, str], register: int) -> None:
        self.done[label] = self.supply.layout.made[label] = register

    def _loader_read(self, step_node: StepNode) -> str | None:
        """The loader whose columns are all that a call reads, if it is one."""
        loaders = {self.batch if r.name == "batch" else r.name for r in step_node.node.refs()}
        loader = loaders.pop() if len(loaders) == 1 else ""
        return loader if loader in self.supply.bound.loaders else None

    def _field(self, ref: Ref, loader: str, key: str) -> int:
        """A field of a node's value: a model's output, or an entry of what an op returned."""
        out = self.done[ref.name, loader]
        step_node = self.supply.step.nodes[ref.name]
        field = ref.field[0]
        if step_node.node.verb == "op":
            return self._emit(itemgetter(int(field) if field.isdigit() else field), (out,))
        if field == "probabilities":
            return self._emit(_softmax, (self.value(Ref(ref.name, ("logits",)), key),))
        kind = self.supply.outputs.get(ref.name)
        if kind is None:
            return self._emit(Output(step_node, field, key), (out,))
        if field == "output" or (kind == "tensor" and field == "logits"):
            return out
        if kind == "tensor":
            raise InputError(f"'{ref.name}' has no field '{field}': add a tap of that name", key=step_node.node.key)
        return self._emit(itemgetter(field) if kind == "mapping" else attrgetter(field), (out,))

    def _emit(self, function: Callable[..., Any], inputs: tuple[int, ...], origin: StepNode | None = None) -> int:
        out = self.supply.layout.new()
        self.instructions.append((function, inputs, out))
        if origin is not None:
            self.supply.layout.origins[out] = origin
        return out


class Output:
    """A field of what a model returns, before it is known whether that is a tensor, a mapping or an object."""

    def __init__(self, step_node: StepNode, field: str, key: str) -> None:
        self.step_node, self.field, self.key = step_node, field, key

    def __call__(self, value: Any) -> Any:
        if self.field == "output" or (isinstance(value, Tensor) and self.field == "logits"):
            return value
        if isinstance(value, Mapping) and self.field in value:
            return value[self.field]
        if not isinstance(value, Tensor) and hasattr(value, self.field):
            return getattr(value, self.field)
        known = (
            ["logits", "probabilities"]
            if isinstance(value, Tensor)
            else list(value)
            if isinstance(value, Mapping)
            else []
        )
        known += self.step_node.taps
        raise InputError(
            f"'{self.step_node.name}' has no field '{self.field}'{nearest(self.field, known)}; it has: {', '.join(known)}",
            key=self.key,
        )


def _as_list(*values: Any) -> list[Any]:
    return list(values)


def _softmax(logits: Tensor) -> Tensor:
    return logits.softmax(dim=-1)
