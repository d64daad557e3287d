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
    """Always ``value``."""
    return value


@schedule
def cosine(progress: Progress, *, final: Fraction = 0.0, warmup_epochs: NonNegative = 0.0, per: Per = "step") -> float:
    """Half a cosine from 1 to ``final`` (Loshchilov & Hutter, 2017, eq. 5, without restarts), after a linear warm-up."""
    done = progress.epochs_done(per)
    if done < warmup_epochs:
        share = 1 / progress.steps_per_epoch if per == "step" else 1.0
        return (done + share) / warmup_epochs
    span = max(progress.steps / progress.steps_per_epoch - warmup_epochs, 1e-12)
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min((done - warmup_epochs) / span, 1.0)))


@schedule
def step(progress: Progress, *, milestones: list[float], gamma: Positive = 0.1) -> float:
    """``gamma`` to the power of the milestones (in epochs) that have been reached."""
    return gamma ** sum(progress.epoch >= m for m in milestones)


@schedule
def linear_warmup(progress: Progress, *, epochs: Positive, per: Per = "epoch") -> float:
    """From 0 at the start to 1 after ``epochs``, then 1."""
    return min(1.0, progress.epochs_done(per) / epochs)


@schedule
def linear(progress: Progress, *, start: float = 1.0, end: float = 0.0, per: Per = "step") -> float:
    """A straight line from ``start`` to ``end`` over all of training."""
    return start + (end - start) * progress.fraction(per)


@schedule
def staircase(progress: Progress, *, start: float = 1.0, end: float = 0.0, stairs: Count = 10) -> float:
    """From ``start`` to ``end`` over all of training in equal falls after equal times; the last stair stands at ``end``."""
    done = min(math.floor(progress.fraction("step") * (stairs + 1)), stairs)
    return start + (end - start) * done / stairs


@schedule
def exponential(progress: Progress, *, gamma: Positive, per: Per = "epoch") -> float:
    """``gamma`` to the power of the epochs that lie behind."""
    return gamma ** progress.epochs_done(per)


@schedule
def torch_scheduler(
    progress: Progress, *, name: str, options: dict[str, Any] | None = None, per: Per = "epoch"
) -> float:
    """Any scheduler of ``torch.optim.lr_scheduler`` by its class name, with its ``options``, as a factor.

    Raises ``InputError`` for an unknown name or options that it does not take.
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
    """0 until ``steps`` steps or ``epochs`` epochs lie behind, then ``value``."""
    if (steps is None) == (epochs is None):
        raise InputError("the schedule 'after' takes either steps or epochs")
    reached = progress.step >= steps if steps is not None else progress.epochs_done("step") >= (epochs or 0)
    return value if reached else 0.0


@schedule
def gaussian_fade(progress: Progress, *, until: Positive, scale: Positive, sharpness: Positive = 5.0) -> float:
    """``1 - exp(-sharpness·((e + 1)/scale - 1)²)`` in epoch e = 1, 2, … before ``until``, then 0 (Tang et al., 2023).

    ``until`` and ``scale`` are in epochs.
    """
    epoch = progress.epoch + 1
    return 1 - math.exp(-sharpness * ((epoch + 1) / scale - 1) ** 2) if epoch < until else 0.0


@schedule
def inverse_power(
    progress: Progress, *, rate: NonNegative = 10.0, power: NonNegative = 0.75, per: Per = "step"
) -> float:
    """``(1 + rate·t)^-power`` of the share t of training that lies behind: usual in domain adaptation (Ganin et al., 2016)."""
    return (1 + rate * progress.fraction(per)) ** -power
