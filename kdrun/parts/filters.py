"""Parts of the ``solve`` stage that estimate sets of targets by Bayesian filters which know the model."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.special import ndtr
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from kdrun.data.dataset import Dataset
from kdrun.data.scenes import PointTargetModel, motion
from kdrun.errors import InputError
from kdrun.metrics.sets import gospa
from kdrun.registry import solve
from kdrun.types import Count, Fraction, Positive

__all__ = ["best_assignments", "existence_threshold", "gm_phd", "pmb"]

# stonesoup has Gaussian mixture PHD components, but no Poisson multi-Bernoulli filter and no births that are uniform over a
# field; one object a state would also cost more than these few array operations.

Array = np.ndarray[Any, Any]

FORBIDDEN = 1e9
"""Cost of an assignment that cannot be."""


@dataclass(frozen=True)
class _Linear:
    """The model in matrices over (x, y, velocity x, velocity y), and the same for both filters."""

    model: PointTargetModel
    transition: Array
    process: Array
    measurement: Array
    noise: Array

    @classmethod
    def of(cls, data: Dataset) -> _Linear:
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
        return self.model.field**2

    def first(self, points: Array) -> tuple[Array, Array]:
        """Means [count, 4] and covariance [4, 4] of targets seen for the first time, uniform over the field before."""
        means = np.concatenate([points, np.zeros_like(points)], 1)
        return means, np.diag([self.model.measurement_noise**2] * 2 + [self.model.velocity_variance] * 2)

    def predict(self, means: Array, covariances: Array) -> tuple[Array, Array]:
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


def _over_scenes(data: Dataset, estimate: Any, targets: int) -> Tensor:
    """``estimate(points of each step) -> [count, 3]`` for each scene: [scenes, targets, 3], the likeliest first."""
    rows = data.rows()["measurements"]
    if isinstance(rows, FakeTensor):
        return rows.new_empty(len(rows), targets, 3)
    linear = _Linear.of(data)
    found = torch.zeros(len(rows), targets, 3)
    for number, scene in enumerate(rows.double().numpy()):
        points = [scene[scene[:, 2] == step, :2] for step in range(linear.model.steps)]
        estimates = estimate(linear, points)
        best = estimates[np.argsort(-estimates[:, 2], kind="stable")][:targets]
        found[number, : len(best)] = torch.from_numpy(best)
    return found


@solve
def gm_phd(
    data: Dataset,
    *,
    targets: Count = 16,
    prune: Positive = 1e-4,
    merge: Positive = 4.0,
    components: Count = 100,
) -> Tensor:
    """The Gaussian mixture probability hypothesis density filter (Vo & Ma, 2006) on each scene: [scenes, targets, 3].

    Estimates at the last step, (x, y, weight up to 1), the heaviest first; a component heavier than 1 stands for
    several. Births and the first targets are uniform over the field until detected (Beard et al., 2013). Components lighter
    than ``prune`` go, those within a squared Mahalanobis distance ``merge`` of a heavier one join it, ``components``
    stay at most. ``data`` are scenes with their model in ``extra``.
    """

    def estimate(linear: _Linear, points: list[Array]) -> Array:
        return _phd(linear, points, prune, merge, components)

    return _over_scenes(data, estimate, targets)


def _phd(linear: _Linear, points: list[Array], prune: float, merge: float, most: int) -> Array:
    model = linear.model
    weights, means, covariances = np.zeros(0), np.zeros((0, 4)), np.zeros((0, 4, 4))
    for new, seen in zip(linear.undetected(), points, strict=True):
        means, covariances = linear.predict(means, covariances)
        weights = weights * linear.survival(means, covariances)
        density, moved, narrowed = linear.update(means, covariances, seen)
        detected = model.detection * weights[:, None] * density
        first = np.full(len(seen), model.detection * new / linear.area)
        total = np.maximum(model.clutter / linear.area + first + detected.sum(0), 1e-12)
        start, spread = linear.first(seen)
        count = len(seen)
        weights = np.concatenate([weights * (1 - model.detection), (detected / total).ravel(), first / total])
        means = np.concatenate([means, moved.reshape(-1, 4), start])
        covariances = np.concatenate(
            [covariances, np.repeat(narrowed, count, 0), np.broadcast_to(spread, (count, 4, 4))]
        )
        weights, means, covariances = _merged(weights, means, covariances, prune, merge, most)
    copies = np.maximum(np.ceil(weights), 1).astype(int)
    place = np.concatenate([np.arange(count) for count in copies]) if len(copies) else np.zeros(0)
    return np.column_stack([np.repeat(means[:, :2], copies, 0), np.minimum(np.repeat(weights, copies) - place, 1)])


def _merged(
    weights: Array, means: Array, covariances: Array, prune: float, merge: float, most: int
) -> tuple[Array, Array, Array]:
    kept = weights > prune
    weights, means, covariances = weights[kept], means[kept], covariances[kept]
    inverses = np.linalg.inv(covariances)
    joined: list[tuple[float, Array, Array]] = []
    left = np.ones(len(weights), dtype=bool)
    while left.any():
        heaviest = int(np.argmax(np.where(left, weights, -1.0)))
        difference = means - means[heaviest]
        near = left & (np.einsum("ka,kab,kb->k", difference, inverses, difference) <= merge)
        near[heaviest] = True
        joined.append((weights[near].sum(), *_moments(weights[near], means[near], covariances[near])))
        left &= ~near
    joined = sorted(joined, key=lambda item: -item[0])[:most]
    if not joined:
        return weights, means, covariances
    return np.array([w for w, _, _ in joined]), np.stack([m for _, m, _ in joined]), np.stack([c for _, _, c in joined])


def _moments(weights: Array, means: Array, covariances: Array) -> tuple[Array, Array]:
    """Mean [4] and covariance [4, 4] of a mixture."""
    shares = weights / weights.sum()
    mean = shares @ means
    difference = means - mean
    return mean, np.einsum("k,kab->ab", shares, covariances) + np.einsum("k,ka,kb->ab", shares, difference, difference)


@solve
def pmb(
    data: Dataset, *, targets: Count = 16, hypotheses: Count = 1, prune: Positive = 1e-4, tracks: Count = 100
) -> Tensor:
    """The Poisson multi-Bernoulli filter (Williams, 2015) on each scene: [scenes, targets, 3].

    Estimates at the last step, (x, y, probability of existence), the likeliest first. Targets never detected are a Poisson
    process, uniform over the field; each measurement may start a Bernoulli track. In each step the ``hypotheses`` best
    global associations (Murty, 1968) are weighed, and each track becomes one Gaussian with the moments of its mixture; with
    many hypotheses these are the exact marginals. Tracks less likely than ``prune`` go; the ``tracks`` likeliest
    stay. ``data`` are scenes with their model in ``extra``.
    """

    def estimate(linear: _Linear, points: list[Array]) -> Array:
        return _bernoullis(linear, points, hypotheses, prune, tracks)

    return _over_scenes(data, estimate, targets)


def _bernoullis(linear: _Linear, points: list[Array], hypotheses: int, prune: float, most: int) -> Array:
    model = linear.model
    chance, means, covariances = np.zeros(0), np.zeros((0, 4)), np.zeros((0, 4, 4))
    for new, seen in zip(linear.undetected(), points, strict=True):
        means, covariances = linear.predict(means, covariances)
        chance = chance * linear.survival(means, covariances)
        density, moved, narrowed = linear.update(means, covariances, seen)
        missed = np.maximum(1 - chance * model.detection, 1e-12)
        first = model.detection * new / linear.area
        unexplained = max(first + model.clutter / linear.area, 1e-12)
        ratio = model.detection * chance[:, None] * density / missed[:, None]
        share = _marginals(ratio, np.full(len(seen), unexplained), hypotheses)
        unseen = (1 - share.sum(1)) * chance * (1 - model.detection) / missed
        weights = np.concatenate([unseen[:, None], share], 1)
        mixture = np.concatenate([means[:, None], moved], 1)
        for k, weight in enumerate(weights):
            inside = np.concatenate([covariances[k : k + 1], np.broadcast_to(narrowed[k], (len(seen), 4, 4))])
            if weight.sum() > 0:
                means[k], covariances[k] = _moments(weight, mixture[k], inside)
        start, spread = linear.first(seen)
        started = (1 - share.sum(0)) * first / unexplained
        chance = np.concatenate([weights.sum(1), started])
        means = np.concatenate([means, start])
        covariances = np.concatenate([covariances, np.broadcast_to(spread, (len(seen), 4, 4))])
        kept = np.argsort(-chance, kind="stable")[:most]
        kept = kept[chance[kept] > prune]
        chance, means, covariances = chance[kept], means[kept], covariances[kept]
    return np.column_stack([means[:, :2], chance])


def _marginals(ratio: Array, unexplained: Array, hypotheses: int) -> Array:
    """Probabilities [tracks, points] that a track caused a point, over the best global associations.

    ``ratio`` [tracks, points] weighs an association against a miss, ``unexplained`` [points] a point of no track.
    """
    tracks, points = ratio.shape
    share = np.zeros_like(ratio)
    if not tracks or not points:
        return share
    with np.errstate(divide="ignore"):
        own = np.where(np.eye(points, dtype=bool), -np.log(unexplained)[:, None], np.inf)
        cost = np.concatenate([-np.log(ratio).T, own], 1)
    found = list(best_assignments(np.minimum(cost, FORBIDDEN), hypotheses))
    least = found[0][0]
    weights = np.array([math.exp(least - total) for total, _ in found])
    for weight, (_, columns) in zip(weights / weights.sum(), found, strict=True):
        rows = np.flatnonzero(columns < tracks)
        share[columns[rows], rows] += weight
    return share


def best_assignments(cost: Array, count: int) -> Iterator[tuple[float, Array]]:
    """The ``count`` cheapest assignments of rows to columns, by total cost (Murty, 1968): (total, columns [rows]).

    ``cost`` [rows, columns] with no fewer columns than rows; 1e9 or more forbids a pair. Fewer come if there are no more.
    """

    def solved(table: Array) -> tuple[float, Array] | None:
        rows, columns = linear_sum_assignment(table)
        total = float(table[rows, columns].sum())
        return (total, columns) if total < FORBIDDEN / 2 else None

    best = solved(cost)
    waiting: list[tuple[float, Array, Array]] = [(*best, cost)] if best is not None else []
    for _ in range(count):
        if not waiting:
            return
        place = min(range(len(waiting)), key=lambda i: waiting[i][0])
        total, columns, table = waiting.pop(place)
        yield total, columns
        if count == 1:
            return
        table = table.copy()
        for row, column in enumerate(columns):  # split what is left by the first row that is assigned otherwise
            kept = table[row, column]
            table[row, column] = FORBIDDEN
            other = solved(table)
            if other is not None:
                waiting.append((*other, table.copy()))
            table[row] = FORBIDDEN
            table[:, column] = FORBIDDEN
            table[row, column] = kept


@solve
def existence_threshold(
    estimates: Tensor,
    data: Dataset,
    *,
    candidates: list[Fraction] = (0.5, 0.6, 0.7, 0.8, 0.9),  # type: ignore[assignment]
    cutoff: Positive = 2.0,
) -> Tensor:
    """The probability above which an estimate counts that gives the least GOSPA on ``data``, the lowest of equals: [].

    ``estimates`` [scenes, estimates, dim + 1] as of ``gospa``; ``data`` has the columns ``targets`` and ``alive``.
    """
    if isinstance(estimates, FakeTensor):
        return estimates.new_empty(())
    rows = data.rows()
    totals = [gospa(estimates, rows["targets"], rows["alive"], cutoff=cutoff, at=c)["total"] for c in candidates]
    return torch.tensor(candidates[int(np.argmin(totals))])
