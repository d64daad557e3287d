"""The ``train`` stage: fits models with a step graph, with checkpoints and exact resume."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kdrun.data.dataset import Column, Dataset
from kdrun.engine.artifacts import Artifact, Model, Table
from kdrun.engine.building import build, load_state, load_weights, sizes_from_data
from kdrun.engine.checkpoint import flatten, unflatten
from kdrun.engine.context import Context
from kdrun.errors import InputError
from kdrun.optim.schedules import Progress
from kdrun.registry import stage
from kdrun.step.compiler import Compiler, Roles
from kdrun.step.program import StepProgram, Trainable, make_trainable
from kdrun.step.spec import Step, parse_step
from kdrun.step.trace import Trace, trace
from kdrun.types import Count

__all__ = ["train"]

DRAIN_EVERY = 50
"""Steps between transfers of loss terms from the device, where NaN is looked for."""


@stage
def train(
    *,
    step: dict[str, Any],
    models: dict[str, Any] | None = None,
    epochs: Count | None = None,
    steps: Count | None = None,
    batch_size: Count = 64,
    batch_sizes: dict[str, int] | None = None,
    drop_last: bool = False,
    shuffle: bool = True,
    context: Context,
    **inputs: Any,
) -> dict[str, Artifact]:
    """Fit one or more models by running a step graph on batches.

    ``epochs`` passes over ``data``, or a number of ``steps``; further loaders are cycled. Fields of the result:
    each trained model by its role, ``average`` (and ``average.ROLE``) for moving averages, ``log`` (loss terms
    by epoch). Raises ``InputError`` for what does not fit, ``Diverged`` when a loss becomes NaN or infinite.
    """
    if (epochs is None) == (steps is None):
        raise InputError("a train stage needs either epochs or steps", key=context.config_key)
    parsed = parse_step(step, key=f"{context.config_key}.step")
    job = _Job.prepare(parsed, dict(models or {}), inputs, batch_size, batch_sizes or {}, context)
    per_epoch = _steps_per_epoch(job.loaders["data"], job.sizes["data"], drop_last, context)
    total = steps if steps is not None else int(epochs or 0) * per_epoch
    plan = Plan(total, per_epoch, drop_last, shuffle)
    rows = _fit(job, plan, context)
    return job.result(rows)


@dataclass(frozen=True)
class Plan:
    """How long to train and in what order rows come."""

    steps: int
    per_epoch: int
    drop_last: bool
    shuffle: bool

    def progress(self, step: int) -> Progress:
        epochs = max(1, -(-self.steps // self.per_epoch))
        return Progress(
            step=step, steps=self.steps, epoch=step // self.per_epoch, epochs=epochs, steps_per_epoch=self.per_epoch
        )


def _steps_per_epoch(data: Dataset, batch_size: int, drop_last: bool, context: Context) -> int:
    count = len(data) // batch_size if drop_last else -(-len(data) // batch_size)
    if count == 0:
        raise InputError(
            f"the data has {len(data)} rows: too few for one batch of {batch_size}", key=context.config_key
        )
    return count


@dataclass
class _Job:
    """Everything one train stage works with, built and on the device."""

    step: Step
    modules: dict[str, nn.Module]
    specs: dict[str, dict[str, Any]]
    loaders: dict[str, Dataset]
    sizes: dict[str, int]
    program: StepProgram
    trainables: dict[str, Trainable]
    generator: torch.Generator
    context: Context

    @classmethod
    def prepare(
        cls,
        step: Step,
        models: dict[str, Any],
        inputs: Mapping[str, Any],
        batch_size: int,
        batch_sizes: Mapping[str, int],
        context: Context,
    ) -> _Job:
        handed = {n: v for n, v in inputs.items() if isinstance(v, Model)}
        loaders = {n: v for n, v in inputs.items() if isinstance(v, Dataset)}
        tensors = {
            n: _to_device(v, context) for n, v in inputs.items() if isinstance(v, Tensor | dict) and n not in handed
        }
        optimizers = {n: v.content for n, v in inputs.items() if isinstance(v, OptimizerSpec)}
        found = trace(
            step,
            specs={n: m.spec for n, m in handed.items()},
            extra=models,
            tensors=_columns(tensors),
            columns={n: d.info.columns for n, d in loaders.items()},
            batch_size=min(batch_size, 8),
            sizes=sizes_from_data(loaders["data"].info),
        )
        modules = _modules(step, handed, found, context)
        generator = torch.Generator(device=context.device).manual_seed(context.seed_for("step") % (1 << 62))
        torch.manual_seed(context.seed_for("global"))
        compiler = Compiler(step, Roles(modules, tensors, tuple(loaders)), found.outputs, generator)
        trainables = {
            u.name: make_trainable(u, modules, _optimizer(u.optimizer, optimizers), tensors)
            for u in step.updates
            if u.every
        }
        hardware = context.hardware
        program = StepProgram(step, compiler, trainables, autocast=hardware.autocast(), scaler=hardware.scaler())
        sizes = {n: batch_sizes.get(n, batch_size) for n in loaders}
        return cls(step, modules, found.specs, loaders, sizes, program, trainables, generator, context)

    def state(self) -> dict[str, Any]:
        """All that a resumed run needs to end with the same bytes."""
        state: dict[str, Any] = {
            "modules": {role: self.modules[role].state_dict() for role in self.step.trained()},
            "optimizers": {name: t.optimizer.state_dict() for name, t in self.trainables.items()},
            "averages": {role: average.parameters for role, average in self.program.averages.items()},
            "generator": self.generator.get_state(),
            "torch": torch.get_rng_state(),
        }
        if self.context.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(self.context.device)
        if self.program.scaler is not None:
            state["scaler"] = self.program.scaler.state_dict()
        return state

    def restore(self, state: Mapping[str, Any]) -> None:
        for role, weights in state["modules"].items():
            self.modules[role].load_state_dict(weights)
        for name, content in state["optimizers"].items():
            self.trainables[name].optimizer.load_state_dict(content)
        for role, parameters in state["averages"].items():
            for own, saved in zip(self.program.averages[role].parameters, parameters, strict=True):
                own.copy_(saved)
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["torch"])
        if "cuda" in state:
            torch.cuda.set_rng_state(state["cuda"], self.context.device)
        if "scaler" in state and self.program.scaler is not None:
            self.program.scaler.load_state_dict(state["scaler"])

    def result(self, rows: list[dict[str, Any]]) -> dict[str, Artifact]:
        fields: dict[str, Artifact] = {"log": Table(rows)}
        for role in dict.fromkeys([*self.step.trained(), *self.modules]):
            if role in self.step.trained():
                fields[role] = self.context.model(self.modules[role], self.specs[role])
        for role, average in self.program.averages.items():
            state = {k: v.detach().cpu().clone() for k, v in average.state().items()}
            fields[f"average.{role}"] = Model(self.specs[role], state)
            fields.setdefault("average", fields[f"average.{role}"])
        return fields


def _modules(step: Step, handed: Mapping[str, Model], found: Trace, context: Context) -> dict[str, nn.Module]:
    """Build every role: trained ones in training mode, all others frozen in eval mode."""
    trained = set(step.trained())
    modules = {}
    for role, spec in found.specs.items():
        module = build(spec, seed=(context.seed, context.name, "weights", role))
        model = handed.get(role)
        if model is not None and model.state is not None:
            load_state(module, model.state, source=f"the model handed in as '{role}'")
        elif spec.get("weights"):
            load_weights(module, spec["weights"], key=f"{role}.weights")
        module.train(role in trained)
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(parameter.requires_grad and step.trains(role, name))
        modules[role] = context.hardware.prepare(module)
    return modules


def _optimizer(given: Any, named: Mapping[str, Any]) -> Mapping[str, Any]:
    return named[given] if isinstance(given, str) else given


def _to_device(value: Any, context: Context) -> Any:
    if isinstance(value, Tensor):
        return value.to(context.device)
    return {k: _to_device(v, context) for k, v in value.items()}


def _columns(value: Any) -> Any:
    if isinstance(value, Tensor):
        return Column(tuple(value.shape), value.dtype)
    return {k: _columns(v) for k, v in value.items()}


@dataclass(frozen=True)
class OptimizerSpec:
    """An optimizer source node as configured."""

    content: Mapping[str, Any]


class _Feed:
    """Endless batches of one loader, in an order fixed by seed and epoch; can start anywhere."""

    def __init__(self, name: str, data: Dataset, size: int, plan: Plan, context: Context) -> None:
        self.name, self.data, self.size, self.plan, self.context = name, data, size, plan, context
        self.per_epoch = max(1, len(data) // size if plan.drop_last else -(-len(data) // size))

    def start(self, step: int) -> Iterator[dict[str, Tensor]]:
        """Batches from global ``step`` on."""
        epoch, skip = divmod(step, self.per_epoch)
        while True:
            order = None
            if self.plan.shuffle:
                order = torch.randperm(len(self.data), generator=self.context.generator("order", self.name, epoch))
            batches = self.data.batches(
                self.size,
                order=order,
                drop_last=self.plan.drop_last,
                device=self.context.device,
                workers=self.context.hardware.workers,
                start=skip,
            )
            if not self.data.transforms:
                yield from batches
            else:
                yield from self._transformed(batches, epoch, skip)
            epoch, skip = epoch + 1, 0

    def _transformed(self, batches: Iterator[dict[str, Tensor]], epoch: int, skip: int) -> Iterator[dict[str, Tensor]]:
        for i, batch in enumerate(batches, skip):
            generator = self.context.generator("augment", self.name, epoch, i)
            for transform in self.data.transforms:
                batch = transform(batch, generator)
            yield batch


def _fit(job: _Job, plan: Plan, context: Context) -> list[dict[str, Any]]:
    """Run the steps; return one row of mean loss terms per epoch."""
    record = _Record(plan.per_epoch)
    start = _resume(job, record, context)
    needed = job.program.loaders() | {"data"}
    feeds = {n: _Feed(n, d, job.sizes[n], plan, context).start(start) for n, d in job.loaders.items() if n in needed}
    context.reporter.stage_started(context.name, plan.steps)
    run, names, single = job.program.run, list(feeds), feeds["data"] if len(feeds) == 1 else None
    saved = time.monotonic()
    for step in range(start, plan.steps):
        progress = plan.progress(step)
        batches = {"data": next(single)} if single is not None else {n: next(feeds[n]) for n in names}
        run(batches, progress)
        done = step + 1
        if done % DRAIN_EVERY == 0 or done % plan.per_epoch == 0 or done == plan.steps:
            record.add(job.program.drain())
            if done % plan.per_epoch == 0 or done == plan.steps:
                row = record.close(done)
                context.reporter.log(context.name, done, {k: v for k, v in row.items() if k not in ("epoch", "step")})
            context.reporter.advanced(context.name, done, **record.latest)
        if time.monotonic() - saved >= context.checkpoint_seconds and done < plan.steps:
            record.add(job.program.drain())
            _save(job, record, done, context)
            saved = time.monotonic()
    return record.rows


class _Record:
    """Mean loss terms by epoch, and the running sums of the epoch at hand."""

    def __init__(self, per_epoch: int) -> None:
        self.per_epoch = per_epoch
        self.rows: list[dict[str, Any]] = []
        self.sums: dict[str, list[float]] = {}
        self.latest: dict[str, float] = {}

    def add(self, values: Mapping[str, list[float]]) -> None:
        for name, numbers in values.items():
            self.sums.setdefault(name, []).extend(numbers)
            self.latest[name] = numbers[-1]

    def close(self, step: int) -> dict[str, Any]:
        means = {name: sum(numbers) / len(numbers) for name, numbers in self.sums.items()}
        row = {"epoch": -(-step // self.per_epoch), "step": step, **means}
        self.rows.append(row)
        self.sums = {}
        return row


def _save(job: _Job, record: _Record, step: int, context: Context) -> None:
    tensors, meta = flatten(job.state())
    context.checkpoints.save(step, tensors, {"state": meta, "rows": record.rows, "sums": record.sums})


def _resume(job: _Job, record: _Record, context: Context) -> int:
    """Restore the newest checkpoint of this stage, if there is one; return the step to go on from."""
    found = context.checkpoints.latest()
    if found is None:
        return 0
    step, tensors, meta = found
    job.restore(unflatten(tensors, meta["state"]))
    record.rows, record.sums = meta["rows"], meta["sums"]
    context.reporter.message(f"{context.name}: resumed at step {step}")
    return step
