"""Calls of models in a step: with taps, in a mode, without gradients, up to an inner module, or at other parameters."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from kdrun.grammar.steps import StepNode
from kdrun.models.lowering import full_precision, reduced_in
from kdrun.models.masks import mask_word
from kdrun.models.modes import in_mode
from kdrun.models.taps import Detour, Slot, WatchedSlot, inner_module, tap, tap_point

__all__ = ["Call"]


class Call:
    """One call of a module in a step, with its taps. ``functional`` is the same at other parameters.

    ``copied`` names taps whose values are changed in place by what comes after; None: find out which (``spoilt``).
    """

    def __init__(self, module: nn.Module, node: StepNode, *, copied: Collection[str] | None = ()) -> None:
        whole, module = module, inner_module(module, node.inner, key=f"{node.node.key}.call")
        self.module = module
        self.reduced = reduced_in(whole)
        self.names = _names_in(whole, module)
        self.by_row = bool(node.inner) and _reads_rows(whole, node.inner)
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
            self.detach
            or self.no_grad
            or self.options
            or self.detour is not None
            or self._switches()
            or self.watched
            or self.by_row
            or self.reduced is not None
        )

    def _tap(self, name: str, path: str, copied: Collection[str] | None) -> Slot:
        slot = WatchedSlot() if copied is None else Slot(copies=name in copied, full=self.reduced is not None)
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

    def mask_word(self) -> str | None:
        """What the module calls a mask of its tokens, if the call reads nothing but these and the module takes one."""
        alone = len(list(self.node.node.refs())) == 1 and not self.patched
        return mask_word(self.module) if alone and not self.options.keys() & {"attention_mask", "mask"} else None

    def _call(self, *inputs: Any, **named: Any) -> Any:
        return self._run(self.module, inputs, named)

    def functional(self, parameters: dict[str, Tensor], *inputs: Any, **named: Any) -> Any:
        """Evaluate at ``parameters`` instead of the module's own; differentiable with respect to them."""
        return self._run(partial(self._at, parameters), inputs, named)

    def _at(self, parameters: dict[str, Tensor], *inputs: Any, **options: Any) -> Any:
        parameters = {own: parameters[name] for own, name in self.names.items() if name in parameters}
        # Running statistics that virtual steps would move are those of copies.
        buffers = {name: buffer.clone() for name, buffer in self.module.named_buffers()}
        return torch.func.functional_call(self.module, {**buffers, **parameters}, inputs, options)

    def _run(self, target: Callable[..., Any], inputs: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
        if self.detach:
            inputs = tuple(i.detach() for i in inputs)
            named = {name: value.detach() for name, value in named.items()}
        if self.by_row:
            inputs = tuple(i[:, :, None, None] if i.dim() == 2 else i for i in inputs)
        options = {**self.options, **named}
        if self.watched:
            self._look_away()
        without = torch.no_grad() if self.no_grad else contextlib.nullcontext()
        mode = in_mode([self.module], self.mode == "train") if self.mode is not None else contextlib.nullcontext()
        with without, mode, self._precision(inputs):
            there = self.detour
            value = target(*inputs, **options) if there is None else there.run(target, inputs, options)
        if self.reduced is not None:
            value = full_precision(value)
        if self.watched:
            self._look()
        return value.flatten(1) if self.by_row and value.shape[2:] == (1, 1) else value

    def _precision(self, inputs: tuple[Any, ...]) -> contextlib.AbstractContextManager[Any]:
        """Autocast for a module whose weights were cast to less."""
        if self.reduced is None:
            return contextlib.nullcontext()
        kind = next((i.device.type for i in inputs if isinstance(i, Tensor)), "cpu")
        return torch.autocast(kind, self.reduced)

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


def _reads_rows(whole: nn.Module, path: str) -> bool:
    """Whether an inner module is a classifier by 1×1 convolution, whose taps are rows [batch, width]: it is called with these, too."""
    view = tap_point(whole, path).view
    return view is not None and view.kind == "row"


def _names_in(whole: nn.Module, inner: nn.Module) -> dict[str, str]:
    """By a parameter's name in ``inner`` that in ``whole``: of a weight that several layers share, its only one there."""
    names = {id(value): name for name, value in whole.named_parameters()}
    return {own: names[id(value)] for own, value in inner.named_parameters()}
