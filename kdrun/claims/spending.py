"""How much evidence a claim needs when it is looked at several times, so that all looks together err no more often than one.

Alpha is spent on looks by the function of Lan and DeMets that comes near to Pocock's bounds, alpha ln(1 + (e - 1) t) at the share t of the
most seeds (Discrete sequential boundaries for clinical trials, Biometrika 1983; Pocock 1977). Bounds come from the normal process by numerical
integration (Armitage, McPherson and Rowe 1969), and hold for p-values of t tests by their levels (Jennison and Turnbull 2000, section 4.4).
"""

from __future__ import annotations

import functools
import math
from typing import Any

__all__ = ["nominal_levels", "planned_looks", "sequential_p"]

POINTS = 201
"""Of the grid on which the process is followed between two bounds."""


def planned_looks(step: int, most: int) -> tuple[int, ...]:
    """The numbers of seeds at which claims are judged: every ``step`` seeds, and at ``most``."""
    return (*range(step, most, step), most)


@functools.lru_cache(maxsize=256)
def nominal_levels(alpha: float, looks: tuple[int, ...]) -> tuple[float, ...]:
    """By look, the two-sided p-value up to which a claim is decided there, if it was not before.

    ``looks``: the numbers of seeds at which one looks, rising; the last is the most there will be.
    """
    import numpy as np
    from scipy.optimize import brentq
    from scipy.special import ndtr

    shares = [look / looks[-1] for look in looks]
    spent, before, found = 0.0, 0.0, []
    points, density = np.zeros(1), np.ones(1)  # of the process, weighted for integration
    for share in shares:
        due = alpha * math.log1p((math.e - 1) * share) - spent
        scale = math.sqrt(share - before)
        bound = brentq(_surplus, 0.0, 12.0, args=(points, density, scale, due), xtol=1e-12)
        found.append(2 * float(ndtr(-bound / math.sqrt(share))))
        points, density = _staying(bound, points, density, scale)
        spent, before = spent + due, share
    return tuple(found)


def _surplus(bound: float, points: Any, density: Any, scale: float, due: float) -> float:
    """By how much more than is due the process leaves through both bounds in a step of deviation ``scale``."""
    from scipy.special import ndtr

    return float(density @ (ndtr((points - bound) / scale) + ndtr((-bound - points) / scale))) - due


def _staying(bound: float, points: Any, density: Any, scale: float) -> tuple[Any, Any]:
    """The grid between the bounds, and the density there after a step, times the weights of Simpson's rule."""
    import numpy as np

    grid = np.linspace(-bound, bound, POINTS)
    kernel = np.exp(-0.5 * ((grid[:, None] - points) / scale) ** 2) / (scale * math.sqrt(2 * math.pi))
    weights = np.full(POINTS, 2.0)
    weights[1::2], weights[[0, -1]] = 4.0, 1.0
    return grid, weights * (grid[1] - grid[0]) / 3 * (kernel @ density)


@functools.lru_cache(maxsize=64)
def _table(at: int, looks: tuple[int, ...]) -> tuple[list[float], list[float]]:
    """Logarithms of nominal levels at a look, rising, and of the alphas that they belong to."""
    alphas = [10 ** (-10 + 9.7 * i / 60) for i in range(61)]
    levels = [nominal_levels(alpha, looks)[at] for alpha in alphas]
    return [math.log(level) for level in levels], [math.log(alpha) for alpha in alphas]


def sequential_p(p: float, at: int, looks: tuple[int, ...]) -> float:
    """The least alpha at which a two-sided p-value would decide at look number ``at`` (from 0); 1 above a half, NaN for NaN."""
    import numpy as np

    levels, alphas = _table(at, looks)
    if math.isnan(p):
        return p
    if p <= 0 or math.log(p) <= levels[0]:
        return p * math.exp(alphas[0] - levels[0])
    return float(np.exp(np.interp(math.log(p), levels, alphas))) if math.log(p) <= levels[-1] else 1.0
