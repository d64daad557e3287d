"""Statistics of a few numbers, one a seed: Student-t and Fieller intervals, sample sizes, and Holm's correction."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Interval", "holm", "mean_interval", "ratio_interval", "seeds_needed", "tail"]

MOST_SEEDS = 10_000


@dataclass(frozen=True)
class Interval:
    """A mean of ``n`` values and the ends of its two-sided confidence interval (NaN for fewer than two values; no values, no mean)."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """Mean and Student-t interval of independent values (one a seed)."""
    count = len(values)
    mean = math.fsum(values) / count if count else math.nan
    if count < 2 or not math.isfinite(mean):
        return Interval(mean, math.nan, math.nan, count)
    half = t_quantile(0.5 + confidence / 2, count - 1) * statistics.stdev(values) / math.sqrt(count)
    return Interval(mean, mean - half, mean + half, count)


def ratio_interval(above: Sequence[float], below: Sequence[float], confidence: float = 0.95) -> Interval:
    """Ratio of the means of paired values, and Fieller's interval: all ratios r at which the mean of above - r below may be 0.

    It is bounded where the mean of ``below`` differs from 0 at the same confidence; elsewhere its ends are NaN.
    Fieller, Some problems in interval estimation, 1954.
    """
    count = len(above)
    first, second = statistics.fmean(above), statistics.fmean(below)
    mean = first / second if second else math.nan
    if count < 2 or not math.isfinite(mean):
        return Interval(mean, math.nan, math.nan, count)
    scale = t_quantile(0.5 + confidence / 2, count - 1) ** 2 / count
    square = second**2 - scale * statistics.variance(below)
    middle = first * second - scale * statistics.covariance(above, below)
    rest = first**2 - scale * statistics.variance(above)
    if square <= 0:
        return Interval(mean, math.nan, math.nan, count)
    root = math.sqrt(max(middle**2 - square * rest, 0.0))
    return Interval(mean, (middle - root) / square, (middle + root) / square, count)


def tail(values: Sequence[float]) -> float:
    """One-sided p-value of Student's t test that the mean of the values is above 0; NaN for fewer than two values.

    Values that are all alike leave nothing to chance: 0 or 1, and 1/2 where all are 0.
    """
    from scipy.special import stdtr

    if len(values) < 2 or not all(map(math.isfinite, values)):
        return math.nan
    mean, deviation = statistics.fmean(values), statistics.stdev(values)
    if deviation == 0:
        return 0.5 if mean == 0 else float(mean < 0)
    return float(stdtr(len(values) - 1, -mean / deviation * math.sqrt(len(values))))


def seeds_needed(effect: float, level: float, power: float = 0.8) -> int | None:
    """The least number of values at which a two-sided t test at ``level`` finds a mean of ``effect`` deviations with ``power``.

    By the noncentral t distribution (Cohen, Statistical power analysis, 1988). None where it is above ten thousand.
    """
    effect = abs(effect)
    if not effect or not math.isfinite(effect):
        return None
    low, high = (
        1,
        2,
    )  # doubled from below: far above the power that is asked for, the distribution's tail may come as NaN
    while _power(effect, high, level) < power:
        if high == MOST_SEEDS:
            return None
        low, high = high, min(2 * high, MOST_SEEDS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _power(effect, middle, level) >= power else (middle, high)
    return high


def _power(effect: float, count: int, level: float) -> float:
    from scipy.special import nctdtr

    bound = t_quantile(1 - level / 2, count - 1)
    return 1 - float(nctdtr(count - 1, effect * math.sqrt(count), bound))


def holm(values: Mapping[str, float]) -> dict[str, float]:
    """P-values adjusted for being several: the share of families with any false rejection stays below the level.

    A value that is not a number counts as 1. Holm, A simple sequentially rejective multiple test procedure, 1979.
    """
    known = {name: 1.0 if math.isnan(value) else value for name, value in values.items()}
    found: dict[str, float] = {}
    least = 0.0
    for place, name in enumerate(sorted(known, key=lambda one: known[one])):
        least = max(least, min(1.0, (len(known) - place) * known[name]))
        found[name] = least
    return found


def t_quantile(probability: float, freedom: float) -> float:
    """Quantile of Student's t distribution."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, probability))
