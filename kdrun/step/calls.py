"""Calls of models in a step: with taps, in a mode, without gradients, up to an inner module, or at other parameters."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from kdrun.grammar.steps import StepNode
from kdrun.models.modes import in_mode
from kdrun.models.taps import Detour, Slot, WatchedSlot, inner_module, tap

__all__ = ["Call"]


class Call:
    """One call of a module in a step, with its taps. ``functional`` is the same at other parameters.

    ``copied`` names taps whose values are changed in place by what comes after; None: find out which (``spoilt``).
    """

    def __init__(self, module: nn.Module, node: StepNode, *, copied: Collection[str] | None = ()) -> None:
        module, self.prefix = inner_module(module, node.inner, key=f"{node.node.key}.call")
        self.module = module
        self.node = node
        self.spoilt: set[str] = set()
        self.watched = copied is None and bool(node.taps)
        self.slots = {name: self._tap(name, path, copied) for name, path in node.taps.items()}
        self.options = node.params
        self.detach = node.detach
        self.mode = node.mode
        self.no_grad = not node.grad
        self.patched = bool(node.patch)
        partial_forward = bool(node.patch or node.until)
        self.detour = Detour(module, node.patch, node.until, key=node.node.key) if partial_forward else None
        self.plain = not (
            self.detach or self.no_grad or self.options or self.detour is not None or self._switches() or self.watched
        )

    def _tap(self, name: str, path: str, copied: Collection[str] | None) -> Slot:
        slot = WatchedSlot() if copied is None else Slot(copies=name in copied)
        return tap(self.module, path, slot, key=f"{self.node.node.key}.taps.{name}")

    def _switches(self) -> bool:
        return self.mode is not None and any(m.training != (self.mode == "train") for m in self.module.modules())

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
        if self.watched:
            self._look_away()
        without = torch.no_grad() if self.no_grad else contextlib.nullcontext()
        mode = in_mode([self.module], self.mode == "train") if self.mode is not None else contextlib.nullcontext()
        with without, mode:
            if self.detour is not None:
                value = self.detour.run(target, inputs, self.options)
            else:
                value = target(*inputs, **self.options)
        if self.watched:
            self._look()
        return value

    def _look_away(self) -> None:
        """Forget what other calls of the same module have put into the slots."""
        for slot in self.slots.values():
            slot.take()

    def _look(self) -> None:
        """Note which taps no longer hold what passed. Raises ``InputError`` for a module that ran several times."""
        for name, slot in self.slots.items():
            assert isinstance(slot, WatchedSlot)
            slot.check(self.node.taps[name], key=f"{self.node.node.key}.taps.{name}")
            if slot.spoilt():
                self.spoilt.add(name)
