"""What the names inside a step graph stand for, built and on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kdrun.data.dataset import Column, Dataset
from kdrun.grammar.nodes import Ref
from kdrun.grammar.steps import Step
from kdrun.models.building import build, is_resolved, load_state, load_weights, sizes_from_data
from kdrun.runtime.artifacts import Model
from kdrun.runtime.context import Context
from kdrun.runtime.sharding import Shards
from kdrun.step.batch_norm import across_processes
from kdrun.step.compiler import Compiler, Roles
from kdrun.step.remembered import Lasting
from kdrun.step.trace import Trace, trace

__all__ = ["Handed", "StepFunction", "compiler_for", "modules_for"]


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
        """The shape pass over these inputs."""
        return trace(
            step,
            specs={n: m.spec for n, m in self.models.items()},
            extra=extra,
            tensors=_columns(self.tensors),
            columns={n: d.info.columns for n, d in self.loaders.items()},
            batch_size=batch_size,
            sizes=sizes_from_data(self.loaders["data"].info),
            rows=self.loaders["data"].index_bound(),
        )


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
            load_weights(module, spec["weights"], key=f"{role}.weights")
        module.train(role in trained)
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(parameter.requires_grad and step.trains(role, name))
        if shards is not None:
            module = across_processes(module, shards, context.device)
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
) -> Compiler:
    """The compiler of a step whose random numbers come from this stage's stream, with calls split among processes if any."""
    modules = modules_for(step, handed, found, context, shards)
    generator = torch.Generator(device=context.device).manual_seed(context.seed_for("step") % (1 << 62))
    tensors = {**handed.tensors, **(state or {})}
    roles = Roles(modules, tensors, tuple(handed.loaders), lasting or {}, shards, found.by_row)
    return Compiler(step, roles, found.outputs, generator)


class StepFunction:
    """Values of step nodes over whole data sets; compiled before the step's program."""

    def __init__(self, compiler: Compiler, refs: Iterable[Ref]) -> None:
        self.compiler = compiler
        self.refs = list(refs)
        self.instructions, self.registers = compiler.function(self.refs)

    @torch.no_grad()
    def over(
        self,
        data: Dataset,
        *,
        batch_size: int,
        context: Context,
        augment: Callable[[int, dict[str, Tensor]], dict[str, Tensor]] | None = None,
    ) -> list[Any]:
        """One value a reference, on the CPU: rows joined in the data's order; scalars as means over rows.

        What was handed in as a tensor is given as it is. All models are in eval mode meanwhile; ``augment`` changes
        each batch by its number.
        """
        modes = [(m, m.training) for m in self.compiler.roles.modules.values()]
        layout = self.compiler.layout
        collected: list[list[Tensor]] = [[] for _ in self.refs]
        sizes: list[int] = []
        for module, _ in modes:
            module.eval()
        try:
            with context.hardware.evaluation():
                batches = data.batches(batch_size, device=context.device, workers=context.hardware.workers)
                for number, batch in enumerate(batches):
                    given = augment(number, batch) if augment is not None else batch
                    r: list[Any] = [None] * layout.size
                    for register, value in layout.constants.items():
                        r[register] = value
                    for register, _, column in layout.columns:
                        r[register] = given.get(column)
                    for function, inputs, out in self.instructions:
                        r[out] = function(*[r[i] for i in inputs])
                    sizes.append(len(batch["index"]))
                    for values, register in zip(collected, self.registers, strict=True):
                        values.append(_on_cpu(r[register]))
        finally:
            for module, training in modes:
                module.train(training)
        return [self._joined(ref, values, sizes) for ref, values in zip(self.refs, collected, strict=True)]

    def _joined(self, ref: Ref, values: list[Tensor], sizes: list[int]) -> Any:
        if ref.name in self.compiler.roles.tensors:
            return values[0]
        if values[0].dim() == 0:
            return (torch.stack(values).double() * torch.tensor(sizes)).sum() / sum(sizes)
        return torch.cat(values)


def _on_cpu(value: Tensor) -> Tensor:
    value = value.detach()
    return value.float().cpu() if value.is_floating_point() else value.cpu()


def _to_device(value: Any, context: Context) -> Any:
    if isinstance(value, Tensor):
        return value.to(context.device)
    return {k: _to_device(v, context) for k, v in value.items()}


def _columns(value: Any) -> Any:
    if isinstance(value, Tensor):
        return Column(tuple(value.shape), value.dtype)
    return {k: _columns(v) for k, v in value.items()}
