"""Running a compiled step: batches in, parameters updated, loss terms noted."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from kdrun.errors import Diverged
from kdrun.grammar.steps import Step, Update
from kdrun.grammar.turns import Alternation
from kdrun.optim.schedules import Progress
from kdrun.registry import catalog
from kdrun.runtime.sharding import running_statistics
from kdrun.step.compiler import Compiler, Segment

__all__ = ["StepProgram", "Trainable", "make_trainable"]

Batch = Mapping[str, Tensor]


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


class Average:
    """An exponential moving average of a module's parameters; buffers are copied."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.source = module
        self.parameters = [p.detach().clone() for p in module.parameters()]

    @torch.no_grad()
    def step(self) -> None:
        torch._foreach_lerp_(self.parameters, [p.detach() for p in self.source.parameters()], 1.0 - self.decay)

    def state(self) -> dict[str, Tensor]:
        """The state dictionary of the averaged module."""
        names = [n for n, _ in self.source.named_parameters()]
        averaged = dict(zip(names, self.parameters, strict=True))
        return {n: averaged.get(n, v) for n, v in self.source.state_dict().items()}


def _cut(batches: Mapping[str, Batch], parts: int) -> list[dict[str, Batch]]:
    """Batches cut into so many parts of rows, or fewer where a batch has fewer rows."""
    count = min(parts, *(len(batch["index"]) for batch in batches.values()))
    cut = {
        loader: {name: column.tensor_split(count) for name, column in batch.items()}
        for loader, batch in batches.items()
    }
    return [{loader: {n: c[i] for n, c in columns.items()} for loader, columns in cut.items()} for i in range(count)]


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
    """Build the optimizer of an update from its node ``{optimizer: sgd, lr: ..., schedule: ..., groups: ...}``."""
    options = {k: v for k, v in content.items() if k not in ("optimizer", "schedule", "groups")}
    named: dict[str, Tensor] = {
        f"{role}.{n}": p
        for role in update.roles()
        for n, p in modules[role].named_parameters()
        if p.requires_grad and update.trains(role, n)
    }
    groups = _groups(named, {**content.get("groups", {}), **update.groups}, options)
    optimizer = catalog().get("optimizer", content["optimizer"]).load()(groups, **options)
    schedule = make_schedule(content["schedule"]) if content.get("schedule") else None
    transforms = [_transform(t, artifacts) for t in update.gradient]
    return Trainable(update, optimizer, named, [g["lr"] for g in optimizer.param_groups], schedule, transforms)


def _groups(named: dict[str, Tensor], rules: Mapping[str, Mapping[str, Any]], options: Mapping[str, Any]) -> Any:
    """Parameter groups by the longest matching prefix (``student.head: {lr: 0.1}``)."""
    if not rules:
        return list(named.values())
    chosen: dict[str, list[Tensor]] = {}
    for name, parameter in named.items():
        match = max((r for r in rules if name == r or name.startswith(f"{r}.")), key=len, default="")
        chosen.setdefault(match, []).append(parameter)
    return [{"params": parameters, **rules.get(rule, {})} for rule, parameters in chosen.items()]


def _transform(content: Mapping[str, Any], artifacts: Mapping[str, Any]) -> Callable[..., dict[str, Tensor]]:
    function = catalog().get("gradient", content["gradient"]).load()
    options = {k: v for k, v in content.items() if k not in ("gradient", "from")}
    given = content.get("from") or []
    extra = [artifacts[name] for name in ([given] if isinstance(given, str) else given)]
    return lambda gradients, parameters: function(gradients, parameters, *extra, **options)


class StepProgram:
    """A step compiled for its modules; ``run`` performs its updates on one batch of each loader."""

    def __init__(
        self,
        step: Step,
        compiler: Compiler,
        trainables: Mapping[str, Trainable],
        *,
        autocast: Callable[[], contextlib.AbstractContextManager[Any]] | None = None,
        scaler: torch.amp.GradScaler | None = None,
        seed: int = 0,
        parts: int = 1,
    ) -> None:
        self.step = step
        self.compiler = compiler
        self.trainables = trainables
        self.autocast = autocast
        self.scaler = scaler
        self.seed = seed
        self.parts = parts
        self.shards = compiler.roles.shards
        self.updates = [u for u in step.updates if u.every > 0]
        self.turns = Alternation(step.alternate) if step.alternate else None
        self.always = self.turns is None and all(u.every == 1 and u.start == 0 for u in self.updates)
        self.averages = {
            role: Average(compiler.roles.modules[role], decay)
            for u in self.updates
            for role, decay in u.average.items()
        }
        moving = {n.role for n in step.nodes.values() if n.role in step.trained() or n.mode == "train"}
        self.statistics = running_statistics(m for role, m in compiler.roles.modules.items() if role in moving)
        self.history: list[tuple[Segment, int, list[Tensor]]] = []
        self._segments: dict[tuple[str, ...], list[Segment]] = {}
        self._weights: dict[tuple[str, str], float | Callable[[Progress], float]] = {
            (u.name, n): constant_or_schedule(w) for u in step.updates for n, w in u.minimize.items()
        }
        self._all = self._for(tuple(self.updates))
        self._template: list[Any] = []
        self._lay_out()

    def _for(self, active: tuple[Update, ...]) -> list[Segment]:
        names = tuple(u.name for u in active)
        if names not in self._segments:
            self._segments[names] = self.compiler.compile(active)
        return self._segments[names]

    def _lay_out(self) -> None:
        layout = self.compiler.layout
        self._template = [None] * layout.size
        for register, value in layout.constants.items():
            self._template[register] = value

    def loaders(self) -> set[str]:
        """Loaders whose batches the step reads."""
        return {loader for _, loader, _ in self.compiler.layout.columns}

    def run(self, batches: Mapping[str, Batch], progress: Progress, count: int | None = None) -> None:
        """Perform the updates that are due at step number ``count`` (``progress.step`` unless given)."""
        count = progress.step if count is None else count
        segments = self._all if self.always else self._due(count)
        if self.shards is not None:
            self.shards.reseed(self.seed + count * self.shards.size)
        if self.parts > 1:
            self._in_parts(segments, batches, progress)
        else:
            r = self._registers(batches)
            for segment in segments:
                self._update(segment, r, progress)
        if self.shards is not None:
            self.shards.average(self.statistics)
        if self.turns is not None:
            self.turns.advance(self._latest(len(segments)))

    def _registers(self, batches: Mapping[str, Batch]) -> list[Any]:
        r = self._template.copy()
        for register, loader, column in self.compiler.layout.columns:
            r[register] = batches[loader][column]
        return r

    def _in_parts(self, segments: list[Segment], batches: Mapping[str, Batch], progress: Progress) -> None:
        """The update on a batch taken in parts, whose gradients are added in the proportion of their rows."""
        for segment in segments:
            self.trainables[segment.update.name].prepare(progress)
            rows = len(batches[segment.update.batch]["index"])
            for part in _cut(batches, self.parts):
                share = len(part[segment.update.batch]["index"]) / rows
                self._backward(segment, self._registers(part), progress, share)
            self._apply(segment)

    def _latest(self, count: int) -> dict[str, Tensor]:
        """The terms of the last ``count`` updates by name."""
        recent = self.history[len(self.history) - count :]
        return {name: v for segment, _, values in recent for (name, _, _), v in zip(segment.terms, values, strict=True)}

    def _due(self, step: int) -> list[Segment]:
        active = tuple(u for u in self.updates if step >= u.start and step % u.every == 0 and self._has_turn(u))
        segments = self._for(active)
        if len(self._template) != self.compiler.layout.size:
            self._lay_out()
        return segments

    def _has_turn(self, update: Update) -> bool:
        return self.turns is None or self.turns.allows(update.name)

    def _update(self, segment: Segment, r: list[Any], progress: Progress) -> None:
        self.trainables[segment.update.name].prepare(progress)
        self._backward(segment, r, progress)
        self._apply(segment)

    def _backward(self, segment: Segment, r: list[Any], progress: Progress, share: float = 1.0) -> None:
        """Add the gradients of ``share`` times the update's loss."""
        if segment.inner is not None:
            self._virtual(segment, r, progress)
        loss, terms = self._loss(segment, r, progress)
        self.history.append((segment, progress.step, terms))
        if share != 1.0:
            loss = share * loss
        if self.scaler is not None:
            loss = self.scaler.scale(loss)
        if len(self.updates) == 1:
            loss.backward()
        else:
            trained = list(self.trainables[segment.update.name].parameters.values())
            loss.backward(inputs=trained, retain_graph=segment.retain)

    def _apply(self, segment: Segment) -> None:
        """Step the update's optimizer on the gradients at hand."""
        trainable = self.trainables[segment.update.name]
        optimizer = trainable.optimizer
        if self.shards is not None:
            self.shards.average(p.grad for p in trainable.parameters.values() if p.grad is not None)
        if trainable.transforms:
            if self.scaler is not None:
                self.scaler.unscale_(optimizer)
            trainable.transform()
        if self.scaler is None:
            optimizer.step()
        else:
            self.scaler.step(optimizer)
            self.scaler.update()
        for role in segment.update.average:
            self.averages[role].step()

    def _loss(self, segment: Segment, r: list[Any], progress: Progress) -> tuple[Tensor, list[Tensor]]:
        if self.autocast is None:
            for function, inputs, out in segment.instructions:
                r[out] = function(*[r[i] for i in inputs])
        else:
            with self.autocast():
                for function, inputs, out in segment.instructions:
                    r[out] = function(*[r[i] for i in inputs])
        loss: Any = None
        values = []
        for name, register, _ in segment.terms:
            value = r[register]
            values.append(value.detach())
            weight = self._weights[segment.update.name, name]
            factor = weight if isinstance(weight, float) else weight(progress)
            weighted = value if factor == 1.0 else factor * value
            loss = weighted if loss is None else loss + weighted
        return loss, values

    def _virtual(self, segment: Segment, r: list[Any], progress: Progress) -> None:
        """Take differentiable gradient steps of the inner update; later instructions read the moved parameters."""
        assert segment.inner is not None
        assert segment.update.through is not None
        options = segment.update.through
        update = segment.inner.update
        rate = float(options["lr"] if "lr" in options else self.trainables[update.name].optimizer.param_groups[0]["lr"])
        second = options.get("order", "second") == "second"
        current: dict[str, dict[str, Tensor]] = {
            role: {n: p for n, p in self.compiler.roles.modules[role].named_parameters() if p.requires_grad}
            for role in update.roles()
        }
        for _ in range(int(options.get("steps", 1))):
            for role, register in segment.virtual.items():
                r[register] = current[role]
            loss, _terms = self._loss(segment.inner, r, progress)
            flat = [(role, name) for role in current for name in current[role] if update.trains(role, name)]
            gradients: Sequence[Tensor | None] = torch.autograd.grad(
                loss, [current[role][name] for role, name in flat], create_graph=second, allow_unused=True
            )
            if self.shards is not None:
                gradients = self._mean(gradients)
            current = {role: dict(values) for role, values in current.items()}
            for (role, name), gradient in zip(flat, gradients, strict=True):
                if gradient is not None:
                    current[role][name] = current[role][name] - rate * gradient
        for role, register in segment.virtual.items():
            r[register] = current[role]

    def _mean(self, gradients: Sequence[Tensor | None]) -> list[Tensor | None]:
        """The mean over processes of those that are there."""
        assert self.shards is not None
        means = iter(self.shards.mean([g for g in gradients if g is not None]))
        return [None if g is None else next(means) for g in gradients]

    def drain(self) -> dict[str, list[float]]:
        """Loss terms noted since the last call, as numbers; one transfer from the device for all of them.

        Raises ``Diverged`` at the first term that is NaN or infinite, naming update, term and step.
        """
        if not self.history:
            return {}
        flat = torch.stack([value.float() for _, _, values in self.history for value in values]).tolist()
        position = iter(flat)
        found: dict[str, list[float]] = {}
        single = len(self.step.updates) == 1
        for segment, step, _ in self.history:
            for name, _, _ in segment.terms:
                value = next(position)
                if value != value or value in (float("inf"), float("-inf")):
                    self.history.clear()
                    raise Diverged(
                        f"the loss became {value} at step {step}: update '{segment.update.name}', term '{name}'"
                    )
                found.setdefault(name if single else f"{segment.update.name}.{name}", []).append(value)
        self.history.clear()
        return found
