"""Gaussian states of point targets that move linearly: how they move, are measured, and are told from what is seen."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr

from kdrun.data.dataset import Dataset
from kdrun.data.scenes import PointTargetModel, motion
from kdrun.errors import InputError

__all__ = ["Gaussians", "LinearMotion", "Seen", "moments"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Gaussians:
    """Weighted Gaussian states: ``weights`` [count], ``means`` [count, 4], ``covariances`` [count, 4, 4]."""

    weights: Array
    means: Array
    covariances: Array

    def __len__(self) -> int:
        return len(self.weights)

    def __getitem__(self, chosen: Any) -> Gaussians:
        return Gaussians(self.weights[chosen], self.means[chosen], self.covariances[chosen])


@dataclass(frozen=True)
class Seen:
    """One step's points, against the states predicted for them.

    ``points`` [points, 2] and the expected number of targets ``undetected`` until now; ``density`` [count, points], the
    likelihood of a point under a state; ``moved`` [count, points, 4] and ``narrowed`` [count, 4, 4], the states' means
    and covariances if they caused it; ``start`` [points, 4] and ``spread`` [4, 4], a state that starts at a point.
    """

    points: Array
    undetected: float
    density: Array
    moved: Array
    narrowed: Array
    start: Array
    spread: Array


@dataclass(frozen=True)
class LinearMotion:
    """The model in matrices over (x, y, velocity x, velocity y), to predict states from step to step and update them."""

    model: PointTargetModel
    transition: Array
    process: Array
    measurement: Array
    noise: Array

    @classmethod
    def of(cls, data: Dataset) -> LinearMotion:
        """Raises ``InputError`` if the data does not say by which model it was made."""
        content = data.info.extra.get("model")
        if not isinstance(content, dict):
            raise InputError("a filter reads scenes whose data says by which model they were made")
        model = PointTargetModel(**content)
        transition, covariance = motion(model)
        axes = np.eye(2)
        measurement = np.kron(np.array([[1.0, 0.0]]), axes)
        noise = model.measurement_noise**2 * axes
        return cls(model, np.kron(transition, axes), np.kron(covariance, axes), measurement, noise)

    @property
    def area(self) -> float:
        """Of the square field, in its units squared."""
        return self.model.field**2

    def first(self, points: Array) -> tuple[Array, Array]:
        """Means [count, 4] and covariance [4, 4] of targets seen for the first time, uniform over the field before."""
        means = np.concatenate([points, np.zeros_like(points)], 1)
        return means, np.diag([self.model.measurement_noise**2] * 2 + [self.model.velocity_variance] * 2)

    def predict(self, means: Array, covariances: Array) -> tuple[Array, Array]:
        """Means [count, 4] and covariances [count, 4, 4] one interval later."""
        return means @ self.transition.T, self.transition @ covariances @ self.transition.T + self.process

    def survival(self, means: Array, covariances: Array) -> Array:
        """Probabilities [count] that predicted targets are still on the field and do not die."""
        deviation = np.sqrt(np.einsum("kii->ki", covariances)[:, :2])
        half = self.model.field / 2
        inside = ndtr((half - means[:, :2]) / deviation) - ndtr((-half - means[:, :2]) / deviation)
        return (1 - self.model.deaths) * inside.prod(1)

    def update(self, means: Array, covariances: Array, points: Array) -> tuple[Array, Array, Array]:
        """Likelihoods [count, points], updated means [count, points, 4] and covariances [count, 4, 4]."""
        expected = means @ self.measurement.T
        spread = self.measurement @ covariances @ self.measurement.T + self.noise
        inverse = np.linalg.inv(spread)
        gain = covariances @ self.measurement.T @ inverse
        innovation = points[None] - expected[:, None]
        distance = np.einsum("kji,kil,kjl->kj", innovation, inverse, innovation)
        density = np.exp(-distance / 2) / (2 * math.pi * np.sqrt(np.linalg.det(spread)))[:, None]
        moved = means[:, None] + np.einsum("kab,kjb->kja", gain, innovation)
        return density, moved, covariances - gain @ self.measurement @ covariances

    def undetected(self) -> Iterator[float]:
        """Expected numbers of targets that were never detected, at the measurement of each step.

        They stay uniform over the field, which they leave in proportion to their mean speed.
        """
        model = self.model
        leaving = math.sqrt(2 * model.velocity_variance / math.pi) * model.interval / model.field
        number = model.initial
        for step in range(model.steps):
            number *= max(1 - leaving, 0.0) ** 2
            number = (number + (model.births if step < model.steps - 2 else 0.0)) * (1 - model.deaths)
            yield number
            number *= 1 - model.detection

    def follow(self, points: list[Array], judge: Callable[[Gaussians, Seen], Gaussians]) -> Gaussians:
        """The states after the last step: predicted from step to step, and after each what ``judge`` makes of its points.

        ``points`` [points, 2] of each step. A predicted state's weight is times its probability to be there still.
        """
        states = Gaussians(np.zeros(0), np.zeros((0, 4)), np.zeros((0, 4, 4)))
        for undetected, seen in zip(self.undetected(), points, strict=True):
            means, covariances = self.predict(states.means, states.covariances)
            states = Gaussians(states.weights * self.survival(means, covariances), means, covariances)
            updated = self.update(means, covariances, seen)
            states = judge(states, Seen(seen, undetected, *updated, *self.first(seen)))
        return states


def moments(weights: Array, means: Array, covariances: Array) -> tuple[Array, Array]:
    """Mean [4] and covariance [4, 4] of a mixture."""
    shares = weights / weights.sum()
    mean = shares @ means
    difference = means - mean
    return mean, np.einsum("k,kab->ab", shares, covariances) + np.einsum("k,ka,kb->ab", shares, difference, difference)
