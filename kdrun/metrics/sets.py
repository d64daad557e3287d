"""Distances between estimated and true sets of points."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from kdrun.errors import InputError
from kdrun.registry import metric
from kdrun.types import Fraction, Positive

__all__ = ["gospa"]


@metric
def gospa(
    estimates: Tensor,
    targets: Tensor,
    alive: Tensor,
    threshold: Tensor | None = None,
    *,
    cutoff: Positive = 2.0,
    order: Positive = 1.0,
    alpha: Positive = 2.0,
    at: Fraction = 0.5,
) -> dict[str, float]:
    """Generalized optimal sub-pattern assignment (Rahmathullah et al., 2017): mean over scenes, and its parts.

    ``estimates`` [scenes, estimates, dim + 1]: positions and the probability of existence, kept above ``threshold`` (a
    single number) or ``at``; ``targets`` [scenes, targets, dim], of which ``alive`` [scenes, targets] (bool) are there.
    Of a scene, with distances d cut off at c: ``total`` = (Σ min(d, c)^p over the best assignment + c^p/α for each
    estimate or target too many)^(1/p), p being ``order``. Parts: ``localization``, Σ d^p over pairs closer than c;
    ``missed`` and ``false``, c^p/α for each target and each estimate outside these pairs. They add up to total^p at α =
    2. Raises ``InputError`` for α above 2 or shapes that do not fit.

    >>> estimates = torch.tensor([[[0.5, 0.0, 0.9], [7.0, 7.0, 0.9]]])  # one near the target, one far from all
    >>> metrics.gospa(estimates, torch.tensor([[[0.0, 0.0]]]), torch.tensor([[True]]))
    {'total': 1.5, 'localization': 0.5, 'missed': 0.0, 'false': 1.0}
    """
    if alpha > 2:
        raise InputError(f"GOSPA takes alpha from 0 to 2, got {alpha}")
    if (
        targets.shape[:2] != alive.shape
        or len(estimates) != len(targets)
        or estimates.shape[-1] != targets.shape[-1] + 1
    ):
        raise InputError(
            f"estimates {list(estimates.shape)}, targets {list(targets.shape)} and alive {list(alive.shape)} do not fit"
        )
    level = at if threshold is None else float(threshold)
    kept = (estimates[..., -1] > level).numpy()
    distances = torch.cdist(estimates[..., :-1].double(), targets.double()).numpy()
    unit = cutoff**order / alpha
    rows = [
        _scene(table[found][:, real], cutoff, order, unit)
        for table, found, real in zip(distances, kept, alive.numpy(), strict=True)
    ]
    means = np.mean(rows, axis=0)
    return dict(zip(("total", "localization", "missed", "false"), means.tolist(), strict=True))


def _scene(distance: np.ndarray, cutoff: float, order: float, unit: float) -> tuple[float, float, float, float]:
    """Total and parts of one scene from distances [estimates, targets]."""
    estimates, targets = distance.shape
    cost = np.minimum(distance, cutoff) ** order
    pairs = linear_sum_assignment(cost)
    chosen = cost[pairs]
    near = distance[pairs] < cutoff
    total = (chosen.sum() + unit * abs(estimates - targets)) ** (1 / order)
    return total, chosen[near].sum(), unit * (targets - near.sum()), unit * (estimates - near.sum())
