"""Parts of the ``solve`` stage that estimate sets of targets by Bayesian filters which know the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kdrun.data.dataset import Dataset
from kdrun.metrics.sets import gospa
from kdrun.parts.assignments import marginals
from kdrun.parts.linear_motion import Gaussians, LinearMotion, Seen, moments
from kdrun.registry import shape_of, solve
from kdrun.types import Count, Fraction, Positive

__all__ = ["existence_threshold", "gm_phd", "pmb"]

# stonesoup has Gaussian mixture PHD components, but no Poisson multi-Bernoulli filter and no births that are uniform over a
# field; one object a state would also cost more than these few array operations.

Array = np.ndarray[Any, Any]


def _over_scenes(data: Dataset, estimate: Callable[[LinearMotion, list[Array]], Array], targets: int) -> Tensor:
    """``estimate(model, points of each step) -> [count, 3]`` for each scene: [scenes, targets, 3], the likeliest first."""
    linear = LinearMotion.of(data)
    rows = data.rows()["measurements"]
    found = torch.zeros(len(rows), targets, 3)
    for number, scene in enumerate(rows.double().numpy()):
        points = [scene[scene[:, 2] == step, :2] for step in range(linear.model.steps)]
        estimates = estimate(linear, points)
        best = estimates[np.argsort(-estimates[:, 2], kind="stable")][:targets]
        found[number, : len(best)] = torch.from_numpy(best)
    return found


@shape_of("solve", "gm_phd")
@shape_of("solve", "pmb")
def estimates_shape(data: Dataset, *, targets: Count = 16, **options: Any) -> Tensor:
    """So many estimates a scene, whatever is seen in it."""
    return torch.zeros(len(data.column("measurements")), targets, 3)


@solve(scored=("data",))
def gm_phd(
    data: Dataset,
    *,
    targets: Count = 16,
    prune: Positive = 1e-4,
    merge: Positive = 4.0,
    components: Count = 100,
) -> Tensor:
    """The Gaussian mixture probability hypothesis density filter (Vo & Ma, 2006) on each scene: [scenes, targets, 3] (float32).

    Estimates at the last step, (x, y, weight up to 1), the heaviest first, zeros where there are fewer; a component heavier
    than 1 stands for several. Births and the first targets are uniform over the field until detected (Beard et al., 2013).
    Components lighter than ``prune`` go, those within a squared Mahalanobis distance ``merge`` of a heavier one join it,
    ``components`` stay at most. ``data`` are scenes: ``measurements`` [scenes, points, 3], each (x, y, number of its step), in
    units of the field; it says in ``extra["model"]`` by which model they were made. Raises ``InputError`` if it does not.

    >>> clear = {"births": 0.0, "deaths": 0.0, "detection": 1.0, "clutter": 0.0, "measurement_noise": 0.01}
    >>> scenes = data.point_target_scenes(test=1, initial=1.0, max_targets=2, **clear).load()["test"]
    >>> found = parts.gm_phd(scenes, targets=2)
    >>> seen = int(scenes.column("alive").sum())
    >>> bool((torch.cdist(found[0, :seen, :2], scenes.column("targets")[0, :seen]).amin(0) < 0.05).all())
    True
    """

    def estimate(linear: LinearMotion, points: list[Array]) -> Array:
        found = linear.follow(points, lambda s, seen: _merged(_intensity(linear, s, seen), prune, merge, components))
        copies = np.maximum(np.ceil(found.weights), 1).astype(int)
        place = np.concatenate([np.arange(count) for count in copies]) if len(copies) else np.zeros(0)
        share = np.minimum(np.repeat(found.weights, copies) - place, 1)
        return np.column_stack([np.repeat(found.means[:, :2], copies, 0), share])

    return _over_scenes(data, estimate, targets)


def _intensity(linear: LinearMotion, states: Gaussians, seen: Seen) -> Gaussians:
    """The intensity of targets after a step, as a mixture: each state undetected, or the cause of each point, and new ones."""
    model, count = linear.model, len(seen.points)
    detected = model.detection * states.weights[:, None] * seen.density
    first = np.full(count, model.detection * seen.undetected / linear.area)
    total = np.maximum(model.clutter / linear.area + first + detected.sum(0), 1e-12)
    return Gaussians(
        np.concatenate([states.weights * (1 - model.detection), (detected / total).ravel(), first / total]),
        np.concatenate([states.means, seen.moved.reshape(-1, 4), seen.start]),
        np.concatenate(
            [states.covariances, np.repeat(seen.narrowed, count, 0), np.broadcast_to(seen.spread, (count, 4, 4))]
        ),
    )


def _merged(states: Gaussians, prune: float, merge: float, most: int) -> Gaussians:
    """The ``most`` heaviest states, without those lighter than ``prune``, near ones joined to the heaviest of them."""
    states = states[states.weights > prune]
    inverses = np.linalg.inv(states.covariances)
    joined: list[tuple[float, Array, Array]] = []
    left = np.ones(len(states), dtype=bool)
    while left.any():
        heaviest = int(np.argmax(np.where(left, states.weights, -1.0)))
        difference = states.means - states.means[heaviest]
        near = left & (np.einsum("ka,kab,kb->k", difference, inverses, difference) <= merge)
        near[heaviest] = True
        group = states[near]
        joined.append((group.weights.sum(), *moments(group.weights, group.means, group.covariances)))
        left &= ~near
    joined = sorted(joined, key=lambda item: -item[0])[:most]
    if not joined:
        return states
    weights, means, covariances = zip(*joined, strict=True)
    return Gaussians(np.array(weights), np.stack(means), np.stack(covariances))


@solve(scored=("data",))
def pmb(
    data: Dataset, *, targets: Count = 16, hypotheses: Count = 1, prune: Positive = 1e-4, tracks: Count = 100
) -> Tensor:
    """The Poisson multi-Bernoulli filter (Williams, 2015) on each scene: [scenes, targets, 3] (float32).

    Estimates at the last step, (x, y, probability of existence), the likeliest first, zeros where there are fewer. Targets
    never detected are a Poisson process, uniform over the field; each measurement may start a Bernoulli track. In each step
    the ``hypotheses`` best global associations (Murty, 1968) are weighed, and each track becomes one Gaussian with the moments
    of its mixture; with many hypotheses these are the exact marginals. Tracks less likely than ``prune`` go; the ``tracks``
    likeliest stay. ``data`` as for ``gm_phd``, and what is raised.

    >>> clear = {"births": 0.0, "deaths": 0.0, "detection": 1.0, "clutter": 0.0, "measurement_noise": 0.01}
    >>> scenes = data.point_target_scenes(test=1, initial=1.0, max_targets=2, **clear).load()["test"]
    >>> found = parts.pmb(scenes, targets=2)
    >>> int((found[0, :, 2] > 0.5).sum()) == int(scenes.column("alive").sum())
    True
    """

    def estimate(linear: LinearMotion, points: list[Array]) -> Array:
        found = linear.follow(points, lambda s, seen: _likeliest(_tracks(linear, s, seen, hypotheses), prune, tracks))
        return np.column_stack([found.means[:, :2], found.weights])

    return _over_scenes(data, estimate, targets)


def _tracks(linear: LinearMotion, tracks: Gaussians, seen: Seen, hypotheses: int) -> Gaussians:
    """The Bernoulli tracks after a step, weighted by their probability of existence, a new one at each point."""
    model, count = linear.model, len(seen.points)
    missed = np.maximum(1 - tracks.weights * model.detection, 1e-12)
    first = model.detection * seen.undetected / linear.area
    unexplained = max(first + model.clutter / linear.area, 1e-12)
    ratio = model.detection * tracks.weights[:, None] * seen.density / missed[:, None]
    share = marginals(ratio, np.full(count, unexplained), hypotheses)
    unseen = (1 - share.sum(1)) * tracks.weights * (1 - model.detection) / missed
    weights = np.concatenate([unseen[:, None], share], 1)
    mixture = np.concatenate([tracks.means[:, None], seen.moved], 1)
    means, covariances = tracks.means.copy(), tracks.covariances.copy()
    for k, weight in enumerate(weights):
        inside = np.concatenate([covariances[k : k + 1], np.broadcast_to(seen.narrowed[k], (count, 4, 4))])
        if weight.sum() > 0:
            means[k], covariances[k] = moments(weight, mixture[k], inside)
    return Gaussians(
        np.concatenate([weights.sum(1), (1 - share.sum(0)) * first / unexplained]),
        np.concatenate([means, seen.start]),
        np.concatenate([covariances, np.broadcast_to(seen.spread, (count, 4, 4))]),
    )


def _likeliest(tracks: Gaussians, prune: float, most: int) -> Gaussians:
    kept = np.argsort(-tracks.weights, kind="stable")[:most]
    return tracks[kept[tracks.weights[kept] > prune]]


@solve
def existence_threshold(
    estimates: Tensor,
    data: Dataset,
    *,
    candidates: list[Fraction] = (0.5, 0.6, 0.7, 0.8, 0.9),  # type: ignore[assignment]
    cutoff: Positive = 2.0,
) -> Tensor:
    """The probability above which an estimate counts that gives the least GOSPA on ``data``, the lowest of equals: [] (float32).

    ``estimates`` [scenes, estimates, dim + 1] as of ``gospa``, from 0 to 1 in the last place; ``data`` has the columns
    ``targets`` [scenes, targets, dim] and ``alive`` [scenes, targets] (bool). ``cutoff`` is GOSPA's, in units of the field
    (Rahmathullah et al., 2017).

    >>> columns = {"targets": torch.zeros(1, 1, 2), "alive": torch.tensor([[True]])}
    >>> scenes = data.MemoryDataset(columns, data.DataInfo({}))
    >>> estimates = torch.tensor([[[0.0, 0.0, 0.75], [1.0, 1.0, 0.65]]])  # the second is false
    >>> parts.existence_threshold(estimates, scenes)
    tensor(0.7000)
    """
    rows = data.rows()
    totals = [gospa(estimates, rows["targets"], rows["alive"], cutoff=cutoff, at=c)["total"] for c in candidates]
    return torch.tensor(candidates[int(np.argmin(totals))])


@shape_of("solve", "existence_threshold")
def existence_threshold_shape(estimates: Tensor, data: Dataset, **options: Any) -> Tensor:
    """A scalar."""
    return torch.zeros(())
