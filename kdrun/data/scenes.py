"""Simulated scenes of moving point targets, seen through noise, misses and clutter."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from scipy.special import ndtri
from torch import Tensor

from kdrun.data.dataset import Column, DataInfo
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

    There are Poisson(``initial``) targets, one at least, uniform over the field, with velocities N(0,
    ``velocity_variance``·I). A step of ``interval`` seconds: targets move with constant velocity and process noise; those
    outside vanish; Poisson(``births``) appear (not in the last two steps, never more than ``max_targets`` alive); each
    dies with probability ``deaths``; each is measured with probability ``detection`` at its position plus N(0,
    ``measurement_noise``²·I), among Poisson(``clutter``) uniform false measurements, in random order. Scenes without a
    target at the end, without a measurement or with more than ``max_measurements`` are drawn again.

    A row: ``measurements`` [max_measurements, 3], (x, y, step), in order of time, filled up by (0, 0, -1); ``ids``
    [max_measurements] (int64), the number of the target that each comes from, -1 for clutter, -2 where filled up; ``targets``
    [max_targets, 2], where they are at the last step, and ``alive`` [max_targets] (bool), which of these rows count.
    Row i of a split depends on ``seed`` and i alone; ``train`` may be as large as a stream needs, since rows are made when
    they are read. The split's ``extra["model"]`` has the parameters, for filters that know them.
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


class _Draws:
    """Random numbers of several scenes at once: each scene has a stream of its own, read in the same order."""

    def __init__(self, numbers: Array, stream: int, attempt: int, count: int) -> None:
        self.values = np.empty((len(numbers), count))
        for row, number in enumerate(numbers.tolist()):
            bits = np.random.Philox(key=[stream, number], counter=[0, 0, 0, attempt])
            np.random.Generator(bits).random(out=self.values[row])
        self.place = 0

    def uniform(self, *shape: int) -> Array:
        """Uniform numbers [scenes, *shape] in [0, 1)."""
        count = math.prod(shape)
        taken = self.values[:, self.place : self.place + count]
        self.place += count
        return taken.reshape(len(taken), *shape)

    def normal(self, *shape: int) -> Array:
        return ndtri(np.maximum(self.uniform(*shape), 1e-300))

    def poisson(self, mean: float, *, least: int = 0) -> Array:
        """Poisson numbers [scenes], given that they are ``least`` or more."""
        table = _poisson_table(mean)
        below = table[least - 1] if least else 0.0
        return np.searchsorted(table, below + (1 - below) * self.uniform(1)[:, 0], side="right")


@functools.cache
def _poisson_table(mean: float) -> Array:
    """Cumulative probabilities of 0, 1, 2 … up to where less than 1e-12 is left."""
    count = int(mean + 12 * math.sqrt(mean) + 24)
    logs = np.arange(count) * math.log(mean) if mean else np.where(np.arange(count) == 0, 0.0, -np.inf)
    factorials = np.cumsum(np.log(np.maximum(np.arange(count), 1)))
    table = np.cumsum(np.exp(logs - factorials - mean))
    table = table[: int(np.searchsorted(table, 1 - 1e-12)) + 1]
    table[-1] = 1.0
    return table


def _simulate(
    model: PointTargetModel, numbers: Array, stream: int, attempt: int, slots: int, length: int
) -> tuple[Mapping[str, Array], Array]:
    """One draw of each scene, as columns, and which of them may stand."""
    most_clutter = len(_poisson_table(model.clutter))
    needed = 1 + 4 * slots + model.steps * (2 + 13 * slots + 3 * most_clutter)
    draws = _Draws(numbers, stream, attempt, needed)
    transition, covariance = motion(model)
    root = np.linalg.cholesky(covariance) if model.process_noise else np.zeros((2, 2))
    scenes, half, speed = len(numbers), model.field / 2, math.sqrt(model.velocity_variance)
    order = np.arange(slots)
    alive = order < draws.poisson(model.initial, least=1)[:, None]
    identity = np.broadcast_to(order, (scenes, slots)).copy()
    born = alive.sum(1)
    place = (draws.uniform(slots, 2) - 0.5) * model.field
    velocity = speed * draws.normal(slots, 2)
    seen: list[tuple[Array, Array, Array]] = []
    for step in range(model.steps):
        noise = draws.normal(slots, 2, 2) @ root.T  # per axis: (position, velocity)
        place, velocity = place + transition[0, 1] * velocity + noise[..., 0], velocity + noise[..., 1]
        alive &= (np.abs(place) <= half).all(2)
        births = draws.poisson(model.births)
        new_place, new_velocity = (draws.uniform(slots, 2) - 0.5) * model.field, speed * draws.normal(slots, 2)
        if step < model.steps - 2:
            rank = np.cumsum(~alive, 1)  # 1 at the first free slot
            new = ~alive & (rank <= births[:, None])
            place, velocity = (
                np.where(new[..., None], new_place, place),
                np.where(new[..., None], new_velocity, velocity),
            )
            identity = np.where(new, born[:, None] + rank - 1, identity)
            born, alive = born + new.sum(1), alive | new
        alive &= draws.uniform(slots) >= model.deaths
        detected = alive & (draws.uniform(slots) < model.detection)
        false = np.arange(most_clutter) < draws.poisson(model.clutter)[:, None]
        points = np.concatenate(
            [
                place + model.measurement_noise * draws.normal(slots, 2),
                (draws.uniform(most_clutter, 2) - 0.5) * model.field,
            ],
            1,
        )
        real = np.concatenate([detected, false], 1)
        origin = np.concatenate([identity, np.full((scenes, most_clutter), CLUTTER)], 1)
        shuffled = np.argsort(draws.uniform(slots + most_clutter), 1)
        seen.append(
            (
                np.take_along_axis(points, shuffled[..., None], 1),
                np.take_along_axis(real, shuffled, 1),
                np.take_along_axis(origin, shuffled, 1),
            )
        )
    return _columns(seen, place, alive, length)


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
