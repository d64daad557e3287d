"""The training loop: epochs of rows, whatever chose them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from kdrun.runtime.context import Context
from kdrun.stages.train.feed import Feed
from kdrun.stages.train.length import Length
from kdrun.stages.train.training import Training

__all__ = ["fit"]

DRAIN_EVERY = 50
"""Steps between transfers of loss terms from the device, where NaN is looked for."""


def fit(training: Training, length: Length, context: Context) -> list[dict[str, Any]]:
    """Train, from the newest checkpoint on if there is one; return one row of mean loss terms per epoch."""
    record = _Record()
    count = _resume(training, record, context)
    main = Feed("data", training.loaders["data"], training.sizes["data"], length, context)
    others = {
        name: Feed(name, training.loaders[name], training.sizes[name], length, context).start(count)
        for name in training.loaders
        if name in training.program.loaders() - {"data"}
    }
    context.reporter.stage_started(context.name, length.steps, done=count)
    epoch, within = record.position
    while epoch < length.epochs:
        batches = _begin(training, main, length, epoch, within)
        for batch in main.epoch(epoch, training.rows, within):
            given = {"data": batch, **{n: next(feed) for n, feed in others.items()}} if others else {"data": batch}
            training.program.run(given, length.progress(epoch, within, batches), count)
            count, within = count + 1, within + 1
            if within % DRAIN_EVERY == 0:
                record.add(training.program.drain())
                done = length.progress(epoch, within, batches).step
                context.reporter.advanced(context.name, done, **record.latest)
            record.position = (epoch, within)
            if training.refresh is None and count == length.steps:
                break
            context.checkpoint(count, lambda: _state(training, record))
        record.add(training.program.drain())
        chosen = {} if training.rows is None else {"rows": len(training.rows)}
        scores = _validated(training, epoch + 1, count, last=epoch + 1 == length.epochs)
        row = record.close(scores, epoch=epoch + 1, step=count, **chosen)
        context.reporter.log(context.name, count, {k: v for k, v in row.items() if k not in ("epoch", "step")})
        epoch, within = epoch + 1, 0
        context.reporter.advanced(context.name, min(epoch * length.per_epoch, length.steps), **record.latest)
        if scores:
            context.reporter.validated(context.name, epoch, scores)
        if training.validation is not None and training.validation.over:
            best = training.validation.best["epoch"]
            context.reporter.message(f"{context.name}: ended after epoch {epoch}, none was better since epoch {best}")
            break
    return record.rows


def _validated(training: Training, epoch: int, step: int, *, last: bool) -> dict[str, float]:
    """The scores and learning rates after so many epochs, where it is time for them."""
    validation = training.validation
    if validation is None or not validation.due(epoch, last=last):
        return {}
    scores = validation.scores(training.context)
    validation.judge(scores, training.weights(), epoch=epoch, step=step)
    return {**scores, **training.rates()}


def _begin(training: Training, main: Feed, length: Length, epoch: int, within: int) -> int:
    """Choose the rows of an epoch where a refresh does; return how many batches it has."""
    if training.refresh is None:
        return length.per_epoch
    if within == 0 and epoch % training.refresh.every == 0:
        training.rows = training.refresh.rows(main, length.progress(epoch, 0, 1), training.context)
    assert training.rows is not None
    if training.times is None:
        training.times = torch.zeros(len(main.data), dtype=torch.int64)
    if within == 0:
        training.times[training.rows] += 1
    return -(-len(training.rows) // main.size)


class _Record:
    """Mean loss terms by epoch, the running sums of the epoch at hand, and the place in it: epoch and batch."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.sums: dict[str, list[float]] = {}
        self.latest: dict[str, float] = {}
        self.position = (0, 0)

    def add(self, values: Mapping[str, list[float]]) -> None:
        for name, numbers in values.items():
            self.sums.setdefault(name, []).extend(numbers)
            self.latest[name] = numbers[-1]

    def close(self, scores: Mapping[str, float], **more: int) -> dict[str, Any]:
        """End an epoch; return its row."""
        row = {**more, **{name: sum(numbers) / len(numbers) for name, numbers in self.sums.items()}, **scores}
        self.rows.append(row)
        self.sums = {}
        return row


def _state(training: Training, record: _Record) -> dict[str, Any]:
    record.add(training.program.drain())
    return {"training": training.state(), "rows": record.rows, "sums": record.sums, "position": record.position}


def _resume(training: Training, record: _Record, context: Context) -> int:
    """Restore the newest checkpoint of this stage, if there is one; return the number of steps taken."""
    found = context.resumed()
    if found is None:
        return 0
    step, state = found
    training.restore(state["training"])
    record.rows, record.sums, record.position = state["rows"], state["sums"], tuple(state["position"])
    return step
