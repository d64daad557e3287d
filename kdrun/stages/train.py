"""The ``train`` stage: fits models with a step graph, with checkpoints and exact resume."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from kdrun.data.dataset import Dataset, few_left_over
from kdrun.errors import InputError
from kdrun.grammar.nodes import Ref, parse_node
from kdrun.grammar.steps import Step, parse_step
from kdrun.models.building import uses_batch_statistics
from kdrun.optim.schedules import Progress
from kdrun.registry import catalog, stage
from kdrun.runtime.artifacts import Artifact, Model, OptimizerSpec, Table, Tensors
from kdrun.runtime.context import Context
from kdrun.step.compiler import Compiler
from kdrun.step.program import StepProgram, Trainable, make_schedule, make_trainable
from kdrun.step.remembered import Lasting
from kdrun.step.roles import Handed, StepFunction, compiler_for
from kdrun.step.trace import initial_state
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
    accumulate: Count = 1,
    sampler: dict[str, Any] | None = None,
    refresh: dict[str, Any] | None = None,
    context: Context,
    **inputs: Any,
) -> dict[str, Artifact]:
    """Fit one or more models by running a step graph on batches.

    ``epochs`` passes over ``data``, or a number of ``steps``; further loaders are cycled. ``sampler: {sampler: NAME}`` chooses
    the rows of each batch of ``data``. ``accumulate`` takes each batch in so many parts, one after the other, and adds their
    gradients: less memory, with losses that see the rows of one part. Fields of the result:
    each trained model by its role, ``average`` (and ``average.ROLE``) for moving averages, ``log`` (loss terms
    by epoch), ``cost`` (FLOPs a row of a step, forward and backward, when every update runs; how many rows a black box was asked about). ``refresh: {op: NAME, from: [nodes], every: 1}`` chooses the rows of the coming epochs: the op gets the
    nodes' values over all of ``data``, models in eval mode, and returns row numbers [chosen], or a mapping: its entries
    that are named like the step's state become that state's rows, and ``rows``, where given, chooses. A parameter may be
    a schedule; the field ``chosen`` [rows] counts the epochs that used each row. Raises ``InputError`` for what does not fit, ``Diverged`` when a loss becomes NaN or infinite.
    """
    if (epochs is None) == (steps is None):
        raise InputError("a train stage needs either epochs or steps", key=context.config_key)
    parsed = parse_step(step, key=f"{context.config_key}.step")
    if refresh is not None and epochs is None:
        raise InputError("rows are chosen anew every so many epochs: give epochs, not steps", key=context.config_key)
    if accumulate > batch_size:
        raise InputError(
            f"a batch of {batch_size} rows has no {accumulate} parts", key=f"{context.config_key}.accumulate"
        )
    sizes = _Sizes(batch_size, batch_sizes or {}, accumulate)
    job = _Job.prepare(parsed, dict(models or {}), inputs, sizes, refresh, context)
    if sampler is not None and (refresh is not None or not shuffle):
        raise InputError(
            "a sampler decides the order of rows: it goes with neither refresh nor shuffle: false",
            key=context.config_key,
        )
    order = _ordered(sampler, job, context)
    count = len(job.loaders["data"]) if order is None else len(order(0))
    per_epoch = _steps_per_epoch(count, job.sizes["data"], drop_last, context)
    left = 0 if drop_last else few_left_over(count, job.sizes["data"])
    if left and any(uses_batch_statistics(job.modules[role]) for role in parsed.trained() if role in job.modules):
        context.reporter.message(
            f"{context.name}: batch statistics of the {left} rows in an epoch's last batch are noise: set drop_last: true"
        )
    total = steps if steps is not None else int(epochs or 0) * per_epoch
    plan = Plan(total, per_epoch, drop_last, shuffle, order)
    rows = _fit(job, plan, context) if job.refresh is None else _fit_chosen(job, plan, context)
    return job.result(rows)


@dataclass(frozen=True)
class _Sizes:
    """Rows of a batch, by loader, and in how many parts a batch is taken."""

    usual: int
    special: Mapping[str, int]
    parts: int

    def of(self, loaders: Iterable[str]) -> dict[str, int]:
        return {name: self.special.get(name, self.usual) for name in loaders}


@dataclass(frozen=True)
class Plan:
    """How long to train and in what order rows come."""

    steps: int
    per_epoch: int
    drop_last: bool
    shuffle: bool
    order: Callable[[int], Tensor] | None = None

    def progress(self, step: int) -> Progress:
        epochs = max(1, -(-self.steps // self.per_epoch))
        return Progress(
            step=step, steps=self.steps, epoch=step // self.per_epoch, epochs=epochs, steps_per_epoch=self.per_epoch
        )


def _steps_per_epoch(rows: int, batch_size: int, drop_last: bool, context: Context) -> int:
    count = rows // batch_size if drop_last else -(-rows // batch_size)
    if count == 0:
        raise InputError(f"the data has {rows} rows: too few for one batch of {batch_size}", key=context.config_key)
    return count


def _ordered(sampler: Mapping[str, Any] | None, job: _Job, context: Context) -> Callable[[int], Tensor] | None:
    """The rows of ``data`` in the order of an epoch, as a sampler chooses them: of one length in every epoch."""
    if sampler is None:
        return None
    part = catalog().get("sampler", sampler["sampler"], key=f"{context.config_key}.sampler")
    options = {k: v for k, v in sampler.items() if k != "sampler"}
    data, size = job.loaders["data"], job.sizes["data"]
    return lambda epoch: part.load()(data, size, generator=context.generator("sampler", epoch), **options)


def _lasting(loaders: Mapping[str, Dataset], sizes: Mapping[str, int], context: Context) -> dict[str, Lasting]:
    """The loaders whose rows no random transform changes, so that frozen models' answers may be kept by row."""
    limit = float(context.hardware.settings.get("remember_gib", 0.0)) * 2**30
    return {
        name: Lasting(len(data), data.index_bound(), sizes[name], limit)
        for name, data in loaders.items()
        if limit > 0 and not data.transforms and data.recurring()
    }


@dataclass
class _Job:
    """Everything one train stage works with, built and on the device."""

    step: Step
    specs: dict[str, dict[str, Any]]
    loaders: dict[str, Dataset]
    sizes: dict[str, int]
    program: StepProgram
    trainables: dict[str, Trainable]
    context: Context
    buffers: dict[str, Tensor]
    refresh: Refresh | None
    flops_per_row: float
    rows: Tensor | None = None
    times: Tensor | None = None
    asked: dict[str, int] = field(default_factory=dict)

    @classmethod
    def prepare(
        cls,
        step: Step,
        models: dict[str, Any],
        inputs: Mapping[str, Any],
        batches: _Sizes,
        refresh: Mapping[str, Any] | None,
        context: Context,
    ) -> _Job:
        handed = Handed.sort(inputs, context)
        optimizers = {n: v.content for n, v in inputs.items() if isinstance(v, OptimizerSpec)}
        traced = min(batches.usual, 8)
        found = handed.trace(step, models, traced)
        state = {
            name: initial_state(node, handed.loaders["data"].index_bound(), context.generator("state", name)).to(
                context.device
            )
            for name, node in step.state.items()
        }
        sizes = batches.of(handed.loaders)
        hardware = context.hardware
        lasting = _lasting(handed.loaders, {n: -(-size // batches.parts) for n, size in sizes.items()}, context)
        compiler = compiler_for(step, handed, found, context, state, lasting, hardware.shards)
        torch.manual_seed(context.seed_for("global"))
        modules = compiler.roles.modules
        trainables = {
            u.name: make_trainable(u, modules, _optimizer(u.optimizer, optimizers), compiler.roles.tensors)
            for u in step.updates
            if u.every
        }
        chosen = Refresh(refresh, compiler, key=f"{context.config_key}.refresh") if refresh is not None else None
        program = StepProgram(
            step,
            compiler,
            trainables,
            autocast=hardware.autocast(),
            scaler=hardware.scaler(),
            seed=context.seed_for("noise"),
            parts=batches.parts,
        )
        flops = found.flops / traced
        job = cls(step, found.specs, handed.loaders, sizes, program, trainables, context, state, chosen, flops)
        job.asked = {role: int(count) for role, count in job._counters().items()}
        return job

    @property
    def modules(self) -> dict[str, nn.Module]:
        return self.program.compiler.roles.modules

    @property
    def generator(self) -> torch.Generator:
        return self.program.compiler.generator

    def state(self) -> dict[str, Any]:
        """All that a resumed run needs to end with the same bytes."""
        state: dict[str, Any] = {
            "modules": {role: self.modules[role].state_dict() for role in self.step.trained()},
            "optimizers": {name: t.optimizer.state_dict() for name, t in self.trainables.items()},
            "averages": {role: average.parameters for role, average in self.program.averages.items()},
            "buffers": self.buffers,
            "generator": self.generator.get_state(),
            "torch": torch.get_rng_state(),
        }
        counters = self._counters()
        if counters:
            state["queries"] = counters
        if self.program.turns is not None:
            state["turns"] = self.program.turns.state()
        if self.rows is not None and self.times is not None:
            state["rows"], state["times"] = self.rows, self.times
        if self.context.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(self.context.device)
        if self.program.scaler is not None:
            state["scaler"] = self.program.scaler.state_dict()
        return state

    def _counters(self) -> dict[str, Tensor]:
        """How often models were asked that keep count of it."""
        buffers = {role: dict(module.named_buffers()).get("queries") for role, module in self.modules.items()}
        return {role: buffer for role, buffer in buffers.items() if buffer is not None}

    def restore(self, state: Mapping[str, Any]) -> None:
        for role, weights in state["modules"].items():
            self.modules[role].load_state_dict(weights)
        for name, content in state["optimizers"].items():
            self.trainables[name].restore(content)
        for role, parameters in state["averages"].items():
            for own, saved in zip(self.program.averages[role].parameters, parameters, strict=True):
                own.copy_(saved)
        for name, saved in state["buffers"].items():
            self.buffers[name].copy_(saved)
        for role, count in self._counters().items():
            count.copy_(state["queries"][role])
        if self.program.turns is not None:
            self.program.turns.restore(state["turns"])
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["torch"])
        self.rows, self.times = state.get("rows"), state.get("times")
        if "cuda" in state:
            torch.cuda.set_rng_state(state["cuda"], self.context.device)
        if "scaler" in state and self.program.scaler is not None:
            self.program.scaler.load_state_dict(state["scaler"])

    def result(self, rows: list[dict[str, Any]]) -> dict[str, Artifact]:
        cost = {"flops_per_row": self.flops_per_row, "rows": len(self.loaders["data"])}
        counters = self._counters()
        if counters:
            cost["queries"] = sum(int(count - self.asked[role]) for role, count in counters.items())
        fields: dict[str, Artifact] = {"log": Table(rows), "cost": Table([cost])}
        if self.times is not None:
            fields["chosen"] = Tensors({"": self.times})
        for role in dict.fromkeys([*self.step.trained(), *self.modules]):
            if role in self.step.trained():
                fields[role] = self.context.model(self.modules[role], self.specs[role])
        for role, average in self.program.averages.items():
            state = {k: v.detach().cpu().clone() for k, v in average.state().items()}
            fields[f"average.{role}"] = Model(self.specs[role], state)
            fields.setdefault("average", fields[f"average.{role}"])
        return fields


def _optimizer(given: Any, named: Mapping[str, Any]) -> Mapping[str, Any]:
    return named[given] if isinstance(given, str) else given


class _Feed:
    """Endless batches of one loader, in an order fixed by seed and epoch; can start anywhere."""

    def __init__(self, name: str, data: Dataset, size: int, plan: Plan, context: Context) -> None:
        self.name, self.data, self.size, self.plan, self.context = name, data, size, plan, context
        self.ordered = plan.order if name == "data" else None
        self.per_epoch = plan.per_epoch
        if name != "data":
            self.per_epoch = max(1, len(data) // size if plan.drop_last else -(-len(data) // size))

    def start(self, step: int) -> Iterator[dict[str, Tensor]]:
        """Batches from global ``step`` on."""
        epoch, skip = divmod(step, self.per_epoch)
        while True:
            yield from self.epoch(epoch, skip=skip)
            epoch, skip = epoch + 1, 0

    def epoch(self, epoch: int, rows: Tensor | None = None, skip: int = 0) -> Iterator[dict[str, Tensor]]:
        """The batches of one epoch, of all rows or of ``rows``, from batch number ``skip`` on."""
        order = rows
        if self.ordered is not None:
            order = self.ordered(epoch)
        elif self.plan.shuffle:
            count = len(self.data) if rows is None else len(rows)
            order = torch.randperm(count, generator=self.context.generator("order", self.name, epoch))
            order = order if rows is None else rows[order]
        batches = self.data.batches(
            self.size,
            order=order,
            drop_last=self.plan.drop_last,
            device=self.context.device,
            workers=self.context.hardware.workers,
            start=skip,
            shards=self.context.hardware.shards,
        )
        if not self.data.transforms:
            yield from batches
        else:
            yield from self._transformed(batches, epoch, skip)

    def _transformed(self, batches: Iterator[dict[str, Tensor]], epoch: int, skip: int) -> Iterator[dict[str, Tensor]]:
        for i, batch in enumerate(batches, skip):
            yield self.augmented(batch, "augment", epoch, i)

    def augmented(self, batch: dict[str, Tensor], *labels: object) -> dict[str, Tensor]:
        """The batch after the data's random transforms, whose numbers depend on ``labels``."""
        generator = self.context.generator(labels[0], self.name, *labels[1:])
        for transform in self.data.transforms:
            batch = transform(batch, generator)
        return batch


def _fit(job: _Job, plan: Plan, context: Context) -> list[dict[str, Any]]:
    """Run the steps; return one row of mean loss terms per epoch."""
    record = _Record(plan.per_epoch)
    start = _resume(job, record, context)
    needed = job.program.loaders() | {"data"}
    feeds = {n: _Feed(n, d, job.sizes[n], plan, context).start(start) for n, d in job.loaders.items() if n in needed}
    context.reporter.stage_started(context.name, plan.steps)
    run, names, single = job.program.run, list(feeds), feeds["data"] if len(feeds) == 1 else None
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
        if done < plan.steps:
            context.checkpoint(done, lambda: _state(job, record))
    return record.rows


class Refresh:
    """Rows of ``data`` chosen anew by an op, from what step nodes say of all of them."""

    def __init__(self, content: Mapping[str, Any], compiler: Compiler, *, key: str) -> None:
        node = parse_node("refresh", dict(content), key=key, verbs=("op",))
        self.part = catalog().get("op", node.part, key=f"{key}.op")
        bound = self.part.bind(node.inputs, key=key)
        self.names = list(bound)
        self.values = StepFunction(compiler, [*node.refs(), Ref("batch", ("index",))])
        self.state = {name: compiler.roles.tensors[name] for name in compiler.step.state}
        self.every = int(node.params.get("every", 1))
        self.options = {k: v for k, v in node.params.items() if k != "every"}
        self.schedules = {k: make_schedule(v) for k, v in self.options.items() if isinstance(v, dict)}

    def rows(self, feed: _Feed, progress: Progress, context: Context) -> Tensor:
        """Row numbers [chosen] (int64) for the epochs from ``progress.epoch`` on; writes the step's state if the op says so."""

        def augment(number: int, batch: dict[str, Tensor]) -> dict[str, Tensor]:
            return feed.augmented(batch, "refresh", progress.epoch, number)

        *found, index = self.values.over(
            feed.data, batch_size=feed.size, context=context, augment=augment if feed.data.transforms else None
        )
        options = {**self.options, **{k: schedule(progress) for k, schedule in self.schedules.items()}}
        if "generator" in self.part.injected:
            options["generator"] = context.generator("refresh", progress.epoch)
        chosen = self.part.load()(**dict(zip(self.names, found, strict=True)), **options)
        if isinstance(chosen, Mapping):
            self._write(chosen, index, context)
            chosen = chosen.get("rows", torch.arange(len(feed.data)))
        if len(chosen) == 0:
            raise InputError(f"refresh chose no row in epoch {progress.epoch}", key=f"{context.config_key}.refresh")
        return torch.as_tensor(chosen)

    def _write(self, values: Mapping[str, Tensor], index: Tensor, context: Context) -> None:
        """Put each row's values into the state of the same name, at the row's index in the whole data."""
        key = f"{context.config_key}.refresh"
        named = [name for name in self.state if name in values]
        if not named and "rows" not in values:
            raise InputError(f"refresh gives {', '.join(values)}: no state of the step has such a name", key=key)
        for name in named:
            held, given = self.state[name], values[name]
            if given.shape != (len(index), *held.shape[1:]):
                raise InputError(
                    f"refresh gives {list(given.shape)} for the state '{name}' {list(held.shape)}", key=key
                )
            held[index.to(held.device)] = given.to(held)


def _fit_chosen(job: _Job, plan: Plan, context: Context) -> list[dict[str, Any]]:
    """As ``_fit``, with each epoch over the rows that ``refresh`` has chosen for it.

    Schedules see an epoch as long as one over all rows.
    """
    assert job.refresh is not None
    record = _Record(plan.per_epoch)
    epochs = plan.steps // plan.per_epoch
    context.reporter.stage_started(context.name, plan.steps)
    count = _resume(job, record, context)
    epoch, within = record.position
    main = _Feed("data", job.loaders["data"], job.sizes["data"], plan, context)
    needed = job.program.loaders() - {"data"}
    feeds = {n: _Feed(n, job.loaders[n], job.sizes[n], plan, context).start(count) for n in needed}
    while epoch < epochs:
        if within == 0 and epoch % job.refresh.every == 0:
            job.rows = job.refresh.rows(main, plan.progress(epoch * plan.per_epoch), context)
        assert job.rows is not None
        if job.times is None:
            job.times = torch.zeros(len(main.data), dtype=torch.int64)
        if within == 0:
            job.times[job.rows] += 1
        length = -(-len(job.rows) // main.size)
        for batch in main.epoch(epoch, job.rows, within):
            progress = plan.progress(epoch * plan.per_epoch + within * plan.per_epoch // length)
            job.program.run({"data": batch, **{n: next(feed) for n, feed in feeds.items()}}, progress, count)
            count, within = count + 1, within + 1
            if within % DRAIN_EVERY == 0:
                record.add(job.program.drain())
                context.reporter.advanced(context.name, progress.step, **record.latest)
            record.position = (epoch, within)
            context.checkpoint(count, lambda: _state(job, record))
        record.add(job.program.drain())
        row = record.close(count, epoch=epoch + 1, rows=len(job.rows))
        context.reporter.log(context.name, count, {k: v for k, v in row.items() if k not in ("epoch", "step")})
        epoch, within = epoch + 1, 0
        context.reporter.advanced(context.name, epoch * plan.per_epoch, **record.latest)
    return record.rows


class _Record:
    """Mean loss terms by epoch, and the running sums of the epoch at hand."""

    def __init__(self, per_epoch: int) -> None:
        self.per_epoch = per_epoch
        self.rows: list[dict[str, Any]] = []
        self.sums: dict[str, list[float]] = {}
        self.latest: dict[str, float] = {}
        self.position = (0, 0)

    def add(self, values: Mapping[str, list[float]]) -> None:
        for name, numbers in values.items():
            self.sums.setdefault(name, []).extend(numbers)
            self.latest[name] = numbers[-1]

    def close(self, step: int, **more: int) -> dict[str, Any]:
        means = {name: sum(numbers) / len(numbers) for name, numbers in self.sums.items()}
        row = {"epoch": -(-step // self.per_epoch), "step": step, **more, **means}
        self.rows.append(row)
        self.sums = {}
        return row


def _state(job: _Job, record: _Record) -> dict[str, Any]:
    record.add(job.program.drain())
    return {"job": job.state(), "rows": record.rows, "sums": record.sums, "position": record.position}


def _resume(job: _Job, record: _Record, context: Context) -> int:
    """Restore the newest checkpoint of this stage, if there is one; return the step to go on from."""
    found = context.resumed()
    if found is None:
        return 0
    step, state = found
    job.restore(state["job"])
    record.rows, record.sums, record.position = state["rows"], state["sums"], state["position"]
    return step
