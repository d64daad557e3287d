"""What one update needs beside its program: parameters, optimizer, schedule, gradient transforms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from kdrun.grammar.steps import Update
from kdrun.graph.check import ENGINE_KEYS
from kdrun.optim.groups import depths, parameter_groups
from kdrun.optim.schedules import Progress
from kdrun.registry import catalog

__all__ = ["Trainable", "constant_or_schedule", "make_schedule", "make_trainable"]


@dataclass
class Trainable:
    """What one update needs beside its program: parameters, optimizer, schedule, transforms, averages."""

    update: Update
    optimizer: torch.optim.Optimizer
    parameters: dict[str, Tensor]
    rates: list[float]
    schedule: Callable[[Progress], float] | None = None
    transforms: list[Callable[[dict[str, Tensor], dict[str, Tensor]], dict[str, Tensor]]] = field(default_factory=list)

    def prepare(self, progress: Progress) -> None:
        """Clear the gradients, and multiply each group's base learning rate by the schedule's factor."""
        self.optimizer.zero_grad(set_to_none=True)
        if self.schedule is not None:
            factor = self.schedule(progress)
            for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
                group["lr"] = rate * factor

    def transform(self) -> None:
        """Pass the gradients through the registered gradient transforms, in order."""
        gradients = {n: p.grad for n, p in self.parameters.items() if p.grad is not None}
        for function in self.transforms:
            gradients = function(gradients, self.parameters)
        for name, gradient in gradients.items():
            self.parameters[name].grad = _laid_out_as(self.parameters[name], gradient)

    def restore(self, state: dict[str, Any]) -> None:
        """Take the optimizer's state from a checkpoint, which keeps values but not the layouts of memory."""
        self.optimizer.load_state_dict(state)
        for parameter, buffers in self.optimizer.state.items():
            for name, value in buffers.items():
                if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                    buffers[name] = _laid_out_as(parameter, value)


def _laid_out_as(parameter: Tensor, value: Tensor) -> Tensor:
    """The value with the parameter's strides: fused optimizers walk both through memory and do not compare them."""
    return value if value.stride() == parameter.stride() else torch.empty_like(parameter).copy_(value)


def constant_or_schedule(weight: Any) -> float | Callable[[Progress], float]:
    """A loss weight as a number, or as a function of training progress."""
    if not isinstance(weight, dict):
        return float(weight)
    return make_schedule(weight)


def make_schedule(content: Mapping[str, Any]) -> Callable[[Progress], float]:
    """The function behind ``{schedule: name, ...}``; ``value`` scales it unless the part has its own ``value``."""
    part = catalog().get("schedule", content["schedule"])
    function = part.load()
    options = {k: v for k, v in content.items() if k != "schedule"}
    scale = 1.0 if "value" in part.parameters else float(options.pop("value", 1.0))
    return lambda progress: scale * function(progress, **options)


def make_trainable(
    update: Update, modules: Mapping[str, nn.Module], content: Mapping[str, Any], artifacts: Mapping[str, Any]
) -> Trainable:
    """Build the optimizer of an update from its node ``{optimizer: sgd, lr: ..., schedule: ..., groups: ..., ...}``."""
    options = {k: v for k, v in content.items() if k not in ("optimizer", *ENGINE_KEYS["optimizer"])}
    named: dict[str, Tensor] = {
        f"{role}.{n}": p
        for role in update.roles()
        for n, p in modules[role].named_parameters()
        if p.requires_grad and update.trains(role, n)
    }
    part = catalog().get("optimizer", content["optimizer"])
    decay = content.get("layer_decay")
    groups = parameter_groups(
        named,
        {**(content.get("groups") or {}), **update.groups},
        decay_matrices_alone=content.get("weight_decay_on") == "matrices",
        factors=None if decay is None else _factors(named, modules, update, float(decay)),
        lr=part.with_defaults(options).get("lr"),
    )
    optimizer = part.load()(groups, **options)
    schedule = make_schedule(content["schedule"]) if content.get("schedule") else None
    transforms = [_transform(t, artifacts) for t in update.gradient]
    return Trainable(update, optimizer, named, [g["lr"] for g in optimizer.param_groups], schedule, transforms)


def _factors(
    named: Mapping[str, Tensor], modules: Mapping[str, nn.Module], update: Update, decay: float
) -> dict[str, float]:
    """The rate's factor for each parameter: ``decay`` to the power of the layers between it and its model's output."""
    deep = {f"{role}.{n}": depth for role in update.roles() for n, depth in depths(modules[role]).items()}
    return {name: decay ** deep[name] for name in named}


def _transform(content: Mapping[str, Any], artifacts: Mapping[str, Any]) -> Callable[..., dict[str, Tensor]]:
    function = catalog().get("gradient", content["gradient"]).load()
    options = {k: v for k, v in content.items() if k not in ("gradient", "from")}
    given = content.get("from") or []
    extra = [artifacts[name] for name in ([given] if isinstance(given, str) else given)]
    return lambda gradients, parameters: function(gradients, parameters, *extra, **options)
