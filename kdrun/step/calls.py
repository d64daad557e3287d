"""Calls of models in a step: with taps, in a mode, without gradients, up to an inner module, or at other parameters."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from kdrun.grammar.steps import StepNode
from kdrun.models.taps import Detour, inner_module, tap

__all__ = ["Call"]


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
