"""Schedules: functions of training progress, for learning rate factors and for loss weights alike."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kdrun.errors import InputError, nearest
from kdrun.registry import schedule
from kdrun.types import Count, Fraction, NonNegative, Per, Positive, Unsigned

__all__ = [
    "Progress",
    "after",
    "constant",
    "cosine",
    "exponential",
    "gaussian_fade",
    "inverse_power",
    "linear",
    "linear_warmup",
    "staircase",
    "step",
    "torch_scheduler",
]


@dataclass(frozen=True, slots=True)
class Progress:
    """Where training stands: ``step`` of ``steps`` and ``epoch`` of ``epochs``, all counted from 0."""

    step: int
    steps: int
    epoch: int
    epochs: int
    steps_per_epoch: int

    def epochs_done(self, per: str) -> float:
        """Epochs that lie behind: whole ones, or with the fraction of the present one."""
        return float(self.epoch) if per == "epoch" else self.step / self.steps_per_epoch

    def fraction(self, per: str) -> float:
        """The part of training that lies behind, from 0 up to, but never, 1."""
        return self.epoch / self.epochs if per == "epoch" else self.step / self.steps


@schedule
def constant(progress: Progress, *, value: float = 1.0) -> float:
    """Always ``value``.

    >>> optim.constant(optim.Progress(step=30, steps=100, epoch=3, epochs=10, steps_per_epoch=10), value=0.5)
    0.5
    """
    return value


@schedule
def cosine(progress: Progress, *, final: Fraction = 0.0, warmup_epochs: NonNegative = 0.0, per: Per = "step") -> float:
    """Half a cosine from 1 to ``final`` (Loshchilov & Hutter, 2017, eq. 5, without restarts), after a linear warm-up.

    ``final + (1 - final) · ½ (1 + cos(π t))`` with t the share that lies behind of what follows the warm-up, which
    rises to 1 over ``warmup_epochs``; by ``step``, or by whole ``epoch``.

    >>> times = [optim.Progress(step, 100, step // 10, 10, 10) for step in (0, 50, 99)]
    >>> [round(optim.cosine(progress), 3) for progress in times]
    [1.0, 0.5, 0.0]
    """
    done = progress.epochs_done(per)
    if done < warmup_epochs:
        share = 1 / progress.steps_per_epoch if per == "step" else 1.0
        return (done + share) / warmup_epochs
    span = max(progress.steps / progress.steps_per_epoch - warmup_epochs, 1e-12)
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min((done - warmup_epochs) / span, 1.0)))


@schedule
def step(progress: Progress, *, milestones: list[float], gamma: Positive = 0.1) -> float:
    """``gamma`` to the power of the ``milestones`` (in epochs) that have been reached.

    >>> times = [optim.Progress(10 * epoch, 100, epoch, 10, 10) for epoch in (0, 5, 8)]
    >>> [optim.step(progress, milestones=[5, 8], gamma=0.5) for progress in times]
    [1.0, 0.5, 0.25]
    """
    return gamma ** sum(progress.epoch >= m for m in milestones)


@schedule
def linear_warmup(progress: Progress, *, epochs: Positive, per: Per = "epoch") -> float:
    """From 0 at the start to 1 after ``epochs``, then 1; by whole ``epoch``, or by ``step``.

    >>> times = [optim.Progress(step, 100, step // 10, 10, 10) for step in (0, 10, 90)]
    >>> [optim.linear_warmup(progress, epochs=2.0) for progress in times]
    [0.0, 0.5, 1.0]
    """
    return min(1.0, progress.epochs_done(per) / epochs)


@schedule
def linear(
    progress: Progress, *, start: float = 1.0, end: float = 0.0, warmup: Fraction = 0.0, per: Per = "step"
) -> float:
    """A straight line from ``start`` to ``end`` over all of training; by ``step``, or by whole ``epoch``.

    ``warmup`` is the share of training in which it first rises to ``start``, from 0 (Devlin et al., 2019).

    >>> times = [optim.Progress(step, 100, step // 10, 10, 10) for step in (0, 50, 75)]
    >>> [optim.linear(progress) for progress in times]
    [1.0, 0.5, 0.25]
    """
    done = progress.fraction(per)
    if done < warmup:
        return start * done / warmup
    return start + (end - start) * (done - warmup) / (1 - warmup) if warmup < 1 else start


@schedule
def staircase(progress: Progress, *, start: float = 1.0, end: float = 0.0, stairs: Count = 10) -> float:
    """From ``start`` to ``end`` over all of training in equal falls after equal times; the last stair stands at ``end``.

    >>> times = [optim.Progress(step, 100, step // 10, 10, 10) for step in (0, 33, 34, 99)]
    >>> [optim.staircase(progress, stairs=2) for progress in times]
    [1.0, 1.0, 0.5, 0.0]
    """
    done = min(math.floor(progress.fraction("step") * (stairs + 1)), stairs)
    return start + (end - start) * done / stairs


@schedule
def exponential(progress: Progress, *, gamma: Positive, per: Per = "epoch") -> float:
    """``gamma`` to the power of the epochs that lie behind; whole ones, or by ``step`` with their fractions.

    >>> optim.exponential(optim.Progress(step=30, steps=100, epoch=3, epochs=10, steps_per_epoch=10), gamma=0.5)
    0.125
    """
    return gamma ** progress.epochs_done(per)


@schedule
def torch_scheduler(
    progress: Progress, *, name: str, options: dict[str, Any] | None = None, per: Per = "epoch"
) -> float:
    """Any scheduler of ``torch.optim.lr_scheduler`` by its class name, with its ``options``, as a factor.

    It is stepped once an ``epoch`` or once a ``step``. Raises ``InputError`` for an unknown name or options that it
    does not take.

    >>> progress = optim.Progress(step=30, steps=100, epoch=3, epochs=10, steps_per_epoch=10)
    >>> optim.torch_scheduler(progress, name="StepLR", options={"step_size": 2, "gamma": 0.5})
    0.5
    """
    return _factors(name, json.dumps(options or {}, sort_keys=True))(
        progress.epoch if per == "epoch" else progress.step
    )


@functools.cache
def _factors(name: str, options: str) -> Callable[[int], float]:
    """Step a scheduler over a parameter of rate 1 as far as asked, and remember the rates."""
    import torch

    known = torch.optim.lr_scheduler.__all__
    if name not in known:
        raise InputError(f"torch.optim.lr_scheduler has no '{name}'{nearest(name, known)}")
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    try:
        scheduler = getattr(torch.optim.lr_scheduler, name)(optimizer, **json.loads(options))
    except (TypeError, ValueError) as error:
        raise InputError(f"scheduler {name}: {error}") from None
    rates = [float(optimizer.param_groups[0]["lr"])]

    def factor(count: int) -> float:
        while len(rates) <= count:
            optimizer.step()
            scheduler.step()
            rates.append(float(optimizer.param_groups[0]["lr"]))
        return rates[count]

    return factor


@schedule
def after(
    progress: Progress, *, steps: Unsigned | None = None, epochs: NonNegative | None = None, value: float = 1.0
) -> float:
    """0 until ``steps`` steps or ``epochs`` epochs lie behind, then ``value``.

    Raises ``InputError`` unless exactly one of them is given.

    >>> times = [optim.Progress(step, 100, step // 10, 10, 10) for step in (19, 20)]
    >>> [optim.after(progress, epochs=2.0) for progress in times]
    [0.0, 1.0]
    """
    if (steps is None) == (epochs is None):
        raise InputError("the schedule 'after' takes either steps or epochs")
    reached = progress.step >= steps if steps is not None else progress.epochs_done("step") >= (epochs or 0)
    return value if reached else 0.0


@schedule
def gaussian_fade(progress: Progress, *, until: Positive, scale: Positive, sharpness: Positive = 5.0) -> float:
    """``1 - exp(-sharpness·((e + 1)/scale - 1)²)`` in epoch e = 1, 2, … before ``until``, then 0 (Tang et al., 2023).

    ``until`` and ``scale`` are in epochs.

    >>> times = [optim.Progress(10 * epoch, 100, epoch, 10, 10) for epoch in (0, 4, 9)]
    >>> [round(optim.gaussian_fade(progress, until=8.0, scale=10.0), 4) for progress in times]
    [0.9592, 0.5507, 0.0]
    """
    epoch = progress.epoch + 1
    return 1 - math.exp(-sharpness * ((epoch + 1) / scale - 1) ** 2) if epoch < until else 0.0


@schedule
def inverse_power(
    progress: Progress, *, rate: NonNegative = 10.0, power: NonNegative = 0.75, per: Per = "step"
) -> float:
    """``(1 + rate·t)^-power`` of the share t of training that lies behind (Ganin et al., 2016).

    Usual in domain adaptation. By ``step``, or by whole ``epoch``.

    >>> times = [optim.Progress(step, 100, step // 10, 10, 10) for step in (0, 50)]
    >>> [round(optim.inverse_power(progress), 4) for progress in times]
    [1.0, 0.2608]
    """
    return (1 + rate * progress.fraction(per)) ** -power
