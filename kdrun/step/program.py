"""Running a compiled step: batches in, parameters updated, loss terms noted."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from kdrun.errors import Diverged
from kdrun.grammar.steps import Step, Update
from kdrun.grammar.turns import Alternation
from kdrun.optim.schedules import Progress
from kdrun.runtime.sharding import running_statistics
from kdrun.step.averages import Average
from kdrun.step.compiler import Compiler, Segment
from kdrun.step.trainable import Trainable, constant_or_schedule
from kdrun.step.virtual import virtual_steps

__all__ = ["StepProgram"]

Batch = Mapping[str, Tensor]


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
        self.shards = compiler.bound.shards
        self.updates = [u for u in step.updates if u.every > 0]
        self.turns = Alternation(step.alternate) if step.alternate else None
        self.always = self.turns is None and all(u.every == 1 and u.start == 0 for u in self.updates)
        self.averages = {
            role: Average(compiler.bound.modules[role], decay)
            for u in self.updates
            for role, decay in u.average.items()
        }
        moving = {n.role for n in step.nodes.values() if n.role in step.trained() or n.mode == "train"}
        self.statistics = running_statistics(m for role, m in compiler.bound.modules.items() if role in moving)
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
        self._template = self.compiler.layout.template()

    def loaders(self) -> set[str]:
        """Loaders whose batches the step reads."""
        return {loader for _, loader, _ in self.compiler.layout.columns}

    def run(self, batches: Mapping[str, Batch], progress: Progress, count: int | None = None) -> None:
        """Perform the updates that are due at step number ``count`` (``progress.step`` unless given)."""
        count = progress.step if count is None else count
        self.compiler.supply.moment = progress
        if self.turns is not None:
            self.turns.reach(progress.epoch)
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
        """Take the inner update's virtual steps, at its optimizer's rate unless ``through`` gives one."""
        assert segment.inner is not None
        own = self.trainables.get(segment.inner.update.name)  # an update that never runs by itself has none
        rate = own.optimizer.param_groups[0]["lr"] if own is not None else None
        mean = self.shards.mean if self.shards is not None else None
        modules = self.compiler.bound.modules
        virtual_steps(segment, r, lambda inner: self._loss(inner, r, progress)[0], modules, rate=rate, mean=mean)

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


def _cut(batches: Mapping[str, Batch], parts: int) -> list[dict[str, Batch]]:
    """Batches cut into so many parts of rows, or fewer where a batch has fewer rows."""
    count = min(parts, *(len(batch["index"]) for batch in batches.values()))
    cut = {
        loader: {name: column.tensor_split(count) for name, column in batch.items()}
        for loader, batch in batches.items()
    }
    return [{loader: {n: c[i] for n, c in columns.items()} for loader, columns in cut.items()} for i in range(count)]
