"""Simulated scenes of moving point targets, seen through noise, misses and clutter."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kdrun.data.dataset import Column, DataInfo
from kdrun.data.draws import Draws, poisson_table
from kdrun.data.generated import GeneratedDataset
from kdrun.errors import DataError
from kdrun.registry import data
from kdrun.types import Count, Fraction, NonNegative, Positive, Unsigned

__all__ = ["CLUTTER", "PADDING", "PointTargetModel", "PointTargetScenes", "motion"]

CLUTTER, PADDING = -1, -2
"""Origins of measurements that come from no target, and of rows that fill up."""

ATTEMPTS = 1000
"""Draws of one scene before the parameters are blamed."""

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class PointTargetModel:
    """A linear Gaussian model of point targets on a square field of side ``field`` around 0.

    ``initial`` and ``births`` are expected numbers (at the start, and a step), ``process_noise`` multiplies the
    covariance of white-noise acceleration, ``measurement_noise`` is a standard deviation, ``clutter`` the expected number
    of false measurements a step, ``velocity_variance`` that of each new target's velocity in each axis.
    """

    steps: int
    interval: float
    field: float
    initial: float
    births: float
    deaths: float
    detection: float
    process_noise: float
    measurement_noise: float
    clutter: float
    velocity_variance: float


def motion(model: PointTargetModel) -> tuple[Array, Array]:
    """Transition [2, 2] and process covariance [2, 2] of (position, velocity) in one axis."""
    dt = model.interval
    transition = np.array([[1.0, dt], [0.0, 1.0]])
    covariance = model.process_noise * np.array([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]])
    return transition, covariance


@data(name="point_target_scenes", fields=("train", "valid", "test"))
class PointTargetScenes:
    """Scenes of point targets that appear, move and vanish on a square, as lists of measurements (Pinto et al., 2021).

    There are Poisson(``initial``) targets, one at least, uniform over a square of side ``field`` around 0, with
    velocities N(0, ``velocity_variance``·I). A step of ``interval`` seconds, ``steps`` of them: targets move with
    constant velocity and ``process_noise``; those outside vanish; Poisson(``births``) appear (not in the last two
    steps, never more than ``max_targets`` alive); each dies with probability ``deaths``; each is measured with
    probability ``detection`` at its position plus N(0, ``measurement_noise``²·I), among Poisson(``clutter``) uniform
    false measurements, in random order. Scenes without a target at the end, without a measurement or with more than
    ``max_measurements`` are drawn again.

    A row: ``measurements`` [max_measurements, 3], (x, y, step), in order of time, filled up by (0, 0, -1); ``ids``
    [max_measurements] (int64), the number of the target that each comes from, -1 for clutter, -2 where filled up;
    ``targets`` [max_targets, 2], where they are at the last step, and ``alive`` [max_targets] (bool), which of these
    rows count. Row i of a split depends on ``seed`` and i alone; ``train`` may be as large as a stream needs, since
    rows are made when they are read. The split's ``extra["model"]`` has the parameters, for filters that know them.
    Raises ``DataError`` if no scene fits.

    >>> rows = data.point_target_scenes(steps=5, max_measurements=400, test=3).load()["test"].rows()
    >>> rows["measurements"].shape, rows["alive"].dtype
    (torch.Size([3, 400, 3]), torch.bool)
    """

    def __init__(
        self,
        *,
        steps: Count = 20,
        interval: Positive = 0.1,
        field: Positive = 20.0,
        initial: Positive = 6.0,
        births: NonNegative = 0.4,
        deaths: Fraction = 0.05,
        detection: Fraction = 0.8,
        process_noise: NonNegative = 0.9,
        measurement_noise: NonNegative = 0.3,
        clutter: NonNegative = 30.0,
        velocity_variance: NonNegative = 3.0,
        max_targets: Count = 16,
        max_measurements: Count = 1024,
        train: Count = 1_000_000,
        valid: Count = 200,
        test: Count = 1000,
        seed: Unsigned = 0,
    ) -> None:
        self.model = PointTargetModel(
            steps=steps,
            interval=interval,
            field=field,
            initial=initial,
            births=births,
            deaths=deaths,
            detection=detection,
            process_noise=process_noise,
            measurement_noise=measurement_noise,
            clutter=clutter,
            velocity_variance=velocity_variance,
        )
        self.max_targets, self.max_measurements, self.seed = max_targets, max_measurements, seed
        self.counts = {"train": train, "valid": valid, "test": test}

    def info(self) -> dict[str, DataInfo]:
        columns = {
            "measurements": Column((self.max_measurements, 3)),
            "ids": Column((self.max_measurements,), torch.int64),
            "targets": Column((self.max_targets, 2)),
            "alive": Column((self.max_targets,), torch.bool),
        }
        extra = {"model": asdict(self.model)}
        return {name: DataInfo(columns, size=count, extra=extra) for name, count in self.counts.items()}

    def load(self) -> dict[str, GeneratedDataset]:
        info = self.info()
        return {
            name: GeneratedDataset(
                functools.partial(self.scenes, stream=self.seed * 1000 + number), self.counts[name], info[name]
            )
            for number, name in enumerate(self.counts)
        }

    def scenes(self, positions: Tensor, *, stream: int) -> dict[str, Tensor]:
        """The scenes of these numbers in one stream of random numbers, as columns."""
        numbers = positions.numpy()
        pending = np.arange(len(numbers))
        found: dict[str, Array] = {}
        for attempt in range(ATTEMPTS):
            drawn, fits = _simulate(
                self.model, numbers[pending], stream, attempt, self.max_targets, self.max_measurements
            )
            if not found:
                found = {name: np.empty((len(numbers), *v.shape[1:]), v.dtype) for name, v in drawn.items()}
            for name, value in drawn.items():
                found[name][pending] = value
            pending = pending[~fits]
            if not len(pending):
                return {name: torch.from_numpy(value) for name, value in found.items()}
        raise DataError(
            f"after {ATTEMPTS} draws there was no scene with a target at the end and 1 to {self.max_measurements} measurements",
            key="data.max_measurements",
        )


@dataclass
class _Targets:
    """The targets of several scenes at one moment, in a row of slots each.

    ``place`` and ``velocity`` [scenes, slots, 2]; ``alive`` [scenes, slots] (bool), ``number`` [scenes, slots] that each target has
    had since it appeared, ``born`` [scenes] how many have appeared.
    """

    place: Array
    velocity: Array
    alive: Array
    number: Array
    born: Array


def _simulate(
    model: PointTargetModel, numbers: Array, stream: int, attempt: int, slots: int, length: int
) -> tuple[Mapping[str, Array], Array]:
    """One draw of each scene, as columns, and which of them may stand."""
    most_clutter = len(poisson_table(model.clutter))
    needed = 1 + 4 * slots + model.steps * (2 + 13 * slots + 3 * most_clutter)
    draws = Draws(numbers, stream, attempt, needed)
    order = np.arange(slots)
    alive = order < draws.poisson(model.initial, least=1)[:, None]
    targets = _Targets(
        *_appearing(model, draws, slots), alive, np.broadcast_to(order, alive.shape).copy(), alive.sum(1)
    )
    seen: list[tuple[Array, Array, Array]] = []
    for step in range(model.steps):
        _move(targets, model, draws, births=step < model.steps - 2)
        seen.append(_measured(targets, model, draws, most_clutter))
    return _columns(seen, targets.place, targets.alive, length)


def _appearing(model: PointTargetModel, draws: Draws, slots: int) -> tuple[Array, Array]:
    """Places anywhere on the field and velocities of new targets, one a slot."""
    place = (draws.uniform(slots, 2) - 0.5) * model.field
    return place, math.sqrt(model.velocity_variance) * draws.normal(slots, 2)


def _move(targets: _Targets, model: PointTargetModel, draws: Draws, *, births: bool) -> None:
    """One step: targets move, vanish outside, appear in free slots if ``births``, and die."""
    slots = targets.alive.shape[1]
    transition, covariance = motion(model)
    root = np.linalg.cholesky(covariance) if model.process_noise else np.zeros((2, 2))
    noise = draws.normal(slots, 2, 2) @ root.T  # per axis: (position, velocity)
    targets.place = targets.place + transition[0, 1] * targets.velocity + noise[..., 0]
    targets.velocity = targets.velocity + noise[..., 1]
    targets.alive &= (np.abs(targets.place) <= model.field / 2).all(2)
    count = draws.poisson(model.births)
    place, velocity = _appearing(model, draws, slots)
    if births:
        rank = np.cumsum(~targets.alive, 1)  # 1 at the first free slot
        new = ~targets.alive & (rank <= count[:, None])
        targets.place = np.where(new[..., None], place, targets.place)
        targets.velocity = np.where(new[..., None], velocity, targets.velocity)
        targets.number = np.where(new, targets.born[:, None] + rank - 1, targets.number)
        targets.born, targets.alive = targets.born + new.sum(1), targets.alive | new
    targets.alive &= draws.uniform(slots) >= model.deaths


def _measured(
    targets: _Targets, model: PointTargetModel, draws: Draws, most_clutter: int
) -> tuple[Array, Array, Array]:
    """Points [scenes, slots + clutter, 2], which of them are measured (bool) and the target that each comes from, in random order."""
    scenes, slots = targets.alive.shape
    detected = targets.alive & (draws.uniform(slots) < model.detection)
    false = np.arange(most_clutter) < draws.poisson(model.clutter)[:, None]
    true = targets.place + model.measurement_noise * draws.normal(slots, 2)
    points = np.concatenate([true, (draws.uniform(most_clutter, 2) - 0.5) * model.field], 1)
    real = np.concatenate([detected, false], 1)
    origin = np.concatenate([targets.number, np.full((scenes, most_clutter), CLUTTER)], 1)
    order = np.argsort(draws.uniform(slots + most_clutter), 1)
    return (
        np.take_along_axis(points, order[..., None], 1),
        np.take_along_axis(real, order, 1),
        np.take_along_axis(origin, order, 1),
    )


def _columns(
    seen: list[tuple[Array, Array, Array]], place: Array, alive: Array, length: int
) -> tuple[Mapping[str, Array], Array]:
    """Measurements and targets moved to the front of rows of fixed length; which scenes have some of each, and room."""
    points, real, origin = (np.concatenate(parts, 1) for parts in zip(*seen, strict=True))
    times = np.concatenate([np.full(part[1].shape, float(step)) for step, part in enumerate(seen)], 1)
    short = max(length - real.shape[1], 0)
    if short:
        points, real = np.pad(points, ((0, 0), (0, short), (0, 0))), np.pad(real, ((0, 0), (0, short)))
        origin, times = np.pad(origin, ((0, 0), (0, short))), np.pad(times, ((0, 0), (0, short)))
    front = np.argsort(~real, 1, kind="stable")[:, :length]
    kept = np.take_along_axis(real, front, 1)
    rows = np.concatenate([points, times[..., None]], 2)
    measurements = np.where(kept[..., None], np.take_along_axis(rows, front[..., None], 1), np.array([0.0, 0.0, -1.0]))
    ids = np.where(kept, np.take_along_axis(origin, front, 1), PADDING)
    first = np.argsort(~alive, 1, kind="stable")
    there = np.take_along_axis(alive, first, 1)
    targets = np.where(there[..., None], np.take_along_axis(place, first[..., None], 1), 0.0)
    count = real.sum(1)
    columns: dict[str, Array] = {
        "measurements": measurements.astype(np.float32),
        "ids": ids.astype(np.int64),
        "targets": targets.astype(np.float32),
        "alive": there,
    }
    return columns, (count >= 1) & (count <= length) & alive.any(1)
