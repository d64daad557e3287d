"""Finding sizes left ``auto`` in the models of a step: of inputs from what is fed, of outputs from what they are compared with."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from torch import Tensor

from kdrun.errors import InputError
from kdrun.grammar.nodes import Ref
from kdrun.grammar.steps import Step, StepNode
from kdrun.models.building import is_resolved, resolve

__all__ = ["Sizes"]

IN_SIZES = ("in_features", "in_channels")
OUT_SIZES = ("out_features", "out_channels", "num_classes")


class Sizes:
    """Completes ``specs``. ``value(ref, loader, key)`` tells a value's shape, ``build(role)`` is told of each model completed."""

    def __init__(
        self,
        step: Step,
        specs: dict[str, dict[str, Any]],
        value: Callable[[Ref, str, str], Any],
        build: Callable[[str], None],
    ) -> None:
        self.step, self.specs, self.value, self.build = step, specs, value, build
        self._waiting: list[str] = []

    def find(self, nodes: Collection[str], loader: str) -> None:
        """Find the sizes of the models that ``nodes`` call, in the order in which they are called."""
        if all(is_resolved(spec) for spec in self.specs.values()):
            return
        for name in self.step.order():
            node = self.step.nodes[name]
            if name in nodes and node.node.verb == "call" and not is_resolved(self.specs[node.role]):
                self._complete(node, loader)

    def _complete(self, node: StepNode, loader: str) -> None:
        role, key = node.role, f"{node.node.key}.from"
        if role in self._waiting:
            raise InputError(
                f"the sizes of these models depend on each other: {', '.join(self._waiting)}", key=node.node.key
            )
        self._waiting.append(role)
        spec = self.specs[role]
        sizes: dict[str, int] = {}
        first = next((self.value(ref, loader, key) for ref in node.node.refs()), None)
        if isinstance(first, Tensor) and first.dim() > 1:
            sizes = dict.fromkeys(IN_SIZES, _channels(first))
        wanted = [n for n in OUT_SIZES if spec.get(n) == "auto"]
        if wanted:
            partner = self._partner(node, loader)
            if partner is None:
                raise InputError(
                    f"the size '{wanted[0]}' of '{role}' cannot be found: nothing it is compared with has a known shape",
                    key=node.node.key,
                )
            sizes.update(dict.fromkeys(OUT_SIZES, _channels(partner)))
        self.specs[role] = resolve(spec, sizes)
        self._waiting.pop()
        self.build(role)

    def _partner(self, node: StepNode, loader: str) -> Tensor | None:
        """The first tensor that an op reads beside this model's output and that does not depend on it."""
        calls = [n.name for n in self.step.nodes.values() if n.node.verb == "call" and n.role == node.role]
        todo, seen = [node.name, *(name for name in calls if name != node.name)], set()
        while todo:
            name = todo.pop(0)
            seen.add(name)
            for other in self.step.nodes.values():
                if other.node.verb != "op" or name not in [ref.name for ref in other.node.refs()]:
                    continue
                for ref in other.node.refs():
                    if ref.name == "batch" or ref.name in seen or self._depends(ref, calls):
                        continue
                    value = self.value(ref, loader, f"{other.node.key}.from")
                    if isinstance(value, Tensor) and value.dim() > 1:
                        return value
                todo.append(other.name)
        return None

    def _depends(self, ref: Ref, calls: Collection[str]) -> bool:
        return ref.name in self.step.nodes and bool(self.step.ancestors([ref.name]) & set(calls))


def _channels(value: Tensor) -> int:
    """The size of the feature axis: the last of [batch, tokens, features], else the second."""
    return value.shape[-1] if value.dim() == 3 else value.shape[1]
