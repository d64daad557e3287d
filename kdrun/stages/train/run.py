"""Running a ``train`` stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from kdrun.data.dataset import few_left_over
from kdrun.errors import InputError
from kdrun.grammar.steps import parse_step
from kdrun.models.building import uses_batch_statistics
from kdrun.registry import catalog, stage
from kdrun.runtime.artifacts import Artifact
from kdrun.runtime.context import Context
from kdrun.stages.train.length import Length, batches_of
from kdrun.stages.train.loop import fit
from kdrun.stages.train.training import BatchSizes, Training, prepare
from kdrun.types import Count

__all__ = ["train"]


@stage(together=True)
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
    validate: dict[str, Any] | None = None,
    context: Context,
    **inputs: Any,
) -> dict[str, Artifact]:
    """Fit one or more models by running a step graph on batches.

    ``epochs`` passes over ``data``, or a number of ``steps``; further loaders are cycled. ``sampler: {sampler: NAME}`` chooses
    the rows of each batch of ``data``. ``accumulate`` takes each batch in so many parts, one after the other, and adds their
    gradients: less memory, with losses that see the rows of one part. Fields of the result:
    each trained model by its role, ``average`` (and ``average.ROLE``) for moving averages, ``log`` (loss terms
    by epoch), ``cost`` (FLOPs a row of a step, forward and backward, when every update runs; rows of the data and rows seen in all; how many rows a black box was asked about). ``refresh: {op: NAME, from: [nodes], every: 1}`` chooses the rows of the coming epochs: the op gets the
    nodes' values over all of ``data``, models in eval mode, and returns row numbers [chosen], or a mapping: its entries
    that are named like the step's state become that state's rows, and ``rows``, where given, chooses. A parameter may be
    a schedule; ``over`` names another loader, all rows of which the op gets for the state alone; the field ``chosen`` [rows] counts the epochs that used each row. ``validate: {metrics: [accuracy], every: 1, objective:
    accuracy, keep: best, patience: 10}`` scores nodes of the step on the rows handed in as ``valid`` (``rows``: another name) every so
    many epochs and at the end, all models in eval mode, and no random number of the training is drawn. Its columns stand in ``log``, beside the learning rate ``lr``. With an ``objective`` (``goal: minimize`` where less is better) the field ``best`` says
    which epoch was the best one; ``keep: best`` gives the weights of that epoch, and the last ones as ``last`` (and ``last.ROLE``);
    with ``patience`` training ends after so many validations without a better one. Raises ``InputError`` for what does not fit, ``Diverged`` when a loss becomes NaN or infinite.
    """
    key = context.config_key
    if (epochs is None) == (steps is None):
        raise InputError("a train stage needs either epochs or steps", key=key)
    if refresh is not None and epochs is None:
        raise InputError("rows are chosen anew every so many epochs: give epochs, not steps", key=key)
    if sampler is not None and (refresh is not None or not shuffle):
        raise InputError(
            "a sampler decides the order of rows: it goes with neither refresh nor shuffle: false", key=key
        )
    if accumulate > batch_size:
        raise InputError(f"a batch of {batch_size} rows has no {accumulate} parts", key=f"{key}.accumulate")
    sizes = BatchSizes(batch_size, batch_sizes or {}, accumulate)
    training = prepare(
        parse_step(step, key=f"{key}.step"), dict(models or {}), inputs, sizes, refresh, validate, context
    )
    order = _ordered(sampler, training, context)
    rows = len(training.loaders["data"]) if order is None else len(order(0))
    per_epoch = batches_of(rows, training.sizes["data"], drop_last=drop_last, key=key)
    if not drop_last:
        _warn_of_few(rows, training, context)
    total = steps if steps is not None else int(epochs or 0) * per_epoch
    length = Length(total, per_epoch, drop_last, shuffle, order)
    if (shelf := training.program.compiler.bound.shelf) is not None:
        shelf.batches = total
    log = fit(training, length, context)
    return training.result(log, length if refresh is not None else replace(length, steps=log[-1]["step"]))


def _ordered(sampler: Mapping[str, Any] | None, training: Training, context: Context) -> Callable[[int], Tensor] | None:
    """The rows of ``data`` in the order of an epoch, as a sampler chooses them: of one length in every epoch."""
    if sampler is None:
        return None
    part = catalog().get("sampler", sampler["sampler"], key=f"{context.config_key}.sampler")
    options = {k: v for k, v in sampler.items() if k != "sampler"}
    data, size = training.loaders["data"], training.sizes["data"]
    return lambda epoch: part.load()(data, size, generator=context.generator("sampler", epoch), **options)


def _warn_of_few(rows: int, training: Training, context: Context) -> None:
    """Say so where an epoch's last batch is too small for batch statistics."""
    left = few_left_over(rows, training.sizes["data"])
    trained = [training.modules[role] for role in training.step.trained() if role in training.modules]
    if left and any(uses_batch_statistics(module) for module in trained):
        context.reporter.message(
            f"{context.name}: batch statistics of the {left} rows in an epoch's last batch are noise: set drop_last: true"
        )
