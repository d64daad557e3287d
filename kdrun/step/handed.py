"""What a stage with a step was handed, sorted, built and on the device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kdrun.data.dataset import Dataset
from kdrun.grammar.steps import Step
from kdrun.graph.keys import numerics
from kdrun.models.building import build, is_resolved, load_state, sizes_from_data
from kdrun.models.checkpoints import load_weights
from kdrun.models.modes import rest_frozen_statistics
from kdrun.runtime.answers import Shelf
from kdrun.runtime.artifacts import Model
from kdrun.runtime.context import Context
from kdrun.runtime.fakes import described
from kdrun.runtime.sharding import Shards
from kdrun.step.batch_norm import across_processes
from kdrun.step.compiler import Compiler
from kdrun.step.layout import Bindings
from kdrun.step.lowered import lower
from kdrun.step.remembered import Lasting
from kdrun.step.supply import Supply
from kdrun.step.trace import Trace, trace_once

__all__ = ["Handed", "compiler_for", "modules_for"]


@dataclass(frozen=True)
class Handed:
    """The inputs of a stage with a step graph, sorted by what they are."""

    models: dict[str, Model]
    loaders: dict[str, Dataset]
    tensors: dict[str, Any]

    @classmethod
    def sort(cls, inputs: Mapping[str, Any], context: Context) -> Handed:
        """Split what a stage was given; tensors go to the device."""
        models = {n: v for n, v in inputs.items() if isinstance(v, Model)}
        loaders = {n: v for n, v in inputs.items() if isinstance(v, Dataset)}
        tensors = {n: v for n, v in inputs.items() if isinstance(v, Tensor | dict) and n not in models}
        return cls(models, loaders, {n: _to_device(v, context) for n, v in tensors.items()})

    def trace(self, step: Step, extra: Mapping[str, Any], batch_size: int) -> Trace:
        """The shape pass over these inputs; the step may have passed over like ones before."""
        return trace_once(
            step,
            specs={n: m.spec for n, m in self.models.items()},
            extra=extra,
            tensors=described(self.tensors),
            columns={n: d.info.columns for n, d in self.loaders.items()},
            batch_size=batch_size,
            sizes=sizes_from_data(self.loaders["data"].info),
            rows=self.index_bound(step),
        )

    def index_bound(self, step: Step) -> int:
        """How many rows a bank of the step has to hold: one for each number of a row of any loader."""
        loaders = self.loaders.values() if step.state else [self.loaders["data"]]
        return max(data.index_bound() for data in loaders)


def modules_for(
    step: Step, handed: Handed, found: Trace, context: Context, shards: Shards | None = None
) -> dict[str, nn.Module]:
    """Build every role: trained ones in training mode, all others frozen in eval mode."""
    trained = set(step.trained())
    modules = {}
    for role, spec in found.specs.items():
        if not is_resolved(spec):
            continue  # called by terms of weight 0 alone
        module = build(spec, seed=(context.seed, context.name, "weights", role))
        model = handed.models.get(role)
        if model is not None and model.state is not None:
            load_state(module, model.state, source=f"the model handed in as '{role}'")
        elif spec.get("weights"):
            for told in load_weights(module, spec["weights"], key=f"{role}.weights"):
                context.reporter.message(f"{context.name}: {told}")
        module.train(role in trained)
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(parameter.requires_grad and step.trains(role, name))
        rest_frozen_statistics(module)
        if shards is not None:
            module = across_processes(module, shards, context.device)
        if trained and role not in trained:
            lower(module, role, step, context)
        modules[role] = context.hardware.prepare(module)
    return modules


def compiler_for(
    step: Step,
    handed: Handed,
    found: Trace,
    context: Context,
    state: Mapping[str, Tensor] | None = None,
    lasting: Mapping[str, Lasting] | None = None,
    shards: Shards | None = None,
    shelf: Shelf | None = None,
) -> Compiler:
    """The compiler of a step whose random numbers come from this stage's stream, with calls split among processes if any."""
    modules = modules_for(step, handed, found, context, shards)
    generator = torch.Generator(device=context.device).manual_seed(context.seed_for("step") % (1 << 62))
    tensors = {**handed.tensors, **(state or {})}
    columns = {name: data.info.columns for name, data in handed.loaders.items()}
    bound = Bindings(
        modules, tensors, columns, lasting or {}, shards, found.by_row, shelf, numerics(context.hardware.settings)
    )
    return Compiler(Supply(step, bound, generator, found.outputs, copied=found.copied))


def _to_device(value: Any, context: Context) -> Any:
    if isinstance(value, Tensor):
        return value.to(context.device)
    return {k: _to_device(v, context) for k, v in value.items()}
