"""Whether what was measured agrees with what the paper reports, where a scale measures that.

``reported: {kd.test.accuracy: {value: 0.7066, spread: 0.0024, runs: 5, table: Table 6, tolerance: 0.005}}`` in a claim, judged at
``scale: paper`` or the one that it names. Two one-sided tests (Schuirmann 1987) put the difference between both means inside the
tolerance, or a test puts it outside: each at half of 1 - ``confidence``, so that at most that share of verdicts is wrong, wherever the
difference lies. Not to find a difference is no agreement. ``spread`` is the standard deviation between the paper's ``runs`` (1 by default);
without one, the reported number is taken as it stands.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kdrun.claims.spending import sequential_p
from kdrun.claims.statistics import MOST_SEEDS, Interval, t_quantile
from kdrun.claims.values import Results, columns
from kdrun.errors import InputError, nearest
from kdrun.grammar.sentences import Metric

__all__ = ["Agreement", "agreements", "check_reported", "compared_at", "reported_metrics"]

WORDS = ("value", "spread", "runs", "table", "tolerance", "scale")

SCALE = "paper"
"""Where numbers are compared that do not say where."""

POWER = 0.8

KNOWN = 1e9
"""Degrees of freedom of a spread that is taken as known."""


@dataclass(frozen=True)
class Agreement:
    """One reported number beside what was measured.

    ``outcome``: ``agrees``, ``differs`` or ``too few seeds``. ``difference``: measured less reported, with its interval. ``p``: two-sided,
    that it lies on an end of the tolerance. ``seeds_needed``: where it is open, how many would decide with power 0.8 (None: above ten
    thousand, or the paper's own spread leaves it open).
    """

    claim: str
    metric: str
    outcome: str
    measured: float
    value: float
    spread: float | None
    tolerance: float
    difference: Interval
    p: float
    confidence: float
    table: str = ""
    seeds_needed: int | None = None
    note: str = ""


def compared(content: Any) -> bool:
    """Whether an entry under ``reported`` is a number to be compared, and not a remark."""
    return isinstance(content, Mapping)


def reported_metrics(claim: Mapping[str, Any], scale: str | None = None) -> dict[Metric, Mapping[str, Any]]:
    """The numbers that a claim compares (at a scale), by metric."""
    found = {name: content for name, content in (claim.get("reported") or {}).items() if compared(content)}
    wanted = {n: c for n, c in found.items() if scale is None or str(c.get("scale", SCALE)) == scale}
    return {Metric.of(name, name): content for name, content in wanted.items()}


def check_reported(claim: Mapping[str, Any], arms: Sequence[str], key: str) -> None:
    """Raise ``InputError`` (with ``key``) for a number that could not be compared."""
    for name, content in (claim.get("reported") or {}).items():
        if compared(content):
            _check(str(name), content, arms, f"{key}.reported.{name}")


def _check(name: str, content: Mapping[str, Any], arms: Sequence[str], key: str) -> None:
    unknown = [str(word) for word in content if word not in WORDS]
    if unknown:
        raise InputError(f"a reported number has no '{unknown[0]}'{nearest(unknown[0], WORDS)}", key=key)
    metric = Metric.of(name, key)
    if metric.arm not in arms:
        raise InputError(f"there is no arm '{metric.arm}'{nearest(metric.arm, arms)} in '{name}'", key=key)
    for word, least, needed in (("value", -math.inf, True), ("tolerance", 0.0, True), ("spread", 0.0, False)):
        number = content.get(word)
        if number is None and not needed:
            continue
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            raise InputError(f"{word} is a number, got {number!r:.60}", key=f"{key}.{word}")
        if number < least or (word == "tolerance" and number == 0):
            raise InputError(f"{word} lies above 0, got {number!r}", key=f"{key}.{word}")
    runs = content.get("runs", 1)
    if isinstance(runs, bool) or not isinstance(runs, int) or runs < 1:
        raise InputError(
            f"runs is how many runs of the paper's the spread is from, got {runs!r:.60}", key=f"{key}.runs"
        )


def compared_at(claims: Mapping[str, Any], scale: str) -> dict[str, dict[Metric, Mapping[str, Any]]]:
    """By claim, the numbers that are compared at a scale."""
    found = {name: reported_metrics(claim, scale) for name, claim in claims.items()}
    return {name: numbers for name, numbers in found.items() if numbers}


def agreements(claims: Mapping[str, Any], results: Results, scale: str, looks: tuple[int, ...] = ()) -> list[Agreement]:
    """Every number that is compared at this scale. Raises ``InputError`` if nothing measured one of them.

    ``looks``: the numbers of seeds at which one means to look, where that is more than once (``claims.spending``).
    """
    found = []
    for name, numbers in compared_at(claims, scale).items():
        confidence = float(claims[name].get("confidence", 0.95))
        for metric, content in numbers.items():
            values = columns([metric], results, f"claims.{name}.reported.{metric}")[0]
            found.append(_agreement(name, str(metric), content, values, confidence, looks))
    return found


def _agreement(
    claim: str,
    metric: str,
    content: Mapping[str, Any],
    values: Sequence[float],
    confidence: float,
    looks: tuple[int, ...],
) -> Agreement:
    value, tolerance = float(content["value"]), float(content["tolerance"])
    spread = None if content.get("spread") is None else float(content["spread"])
    paper = 0.0 if spread is None else spread**2 / int(content.get("runs", 1))
    count, mean = len(values), statistics.fmean(values) if values else math.nan
    outcome, p, needed, note = "too few seeds", math.nan, None, ""
    difference = Interval(mean - value, math.nan, math.nan, count)
    if count < 2 or not math.isfinite(mean):
        note = "needs at least two seeds" if count < 2 else "not a number in some seeds"
    else:
        error = _Error(statistics.variance(values), count, paper, int(content.get("runs", 1)))
        inside, outside = error.tails(mean - value, tolerance)
        half = error.quantile(0.5 + confidence / 2) * error.size
        difference = Interval(mean - value, mean - value - half, mean - value + half, count)
        p = min(1.0, 2 * min(inside, outside))
        p = sequential_p(p, looks.index(count), looks) if count in looks else p
        if p <= 1 - confidence:
            outcome = "agrees" if inside < outside else "differs"
        else:
            needed = _needed(abs(tolerance - abs(mean - value)), error, confidence)
            note = "" if needed else "the paper's own spread leaves it open" if paper else ""
    if spread is None:
        note = "; ".join(filter(None, [note, "the paper states no spread"]))
    return Agreement(
        claim,
        metric,
        outcome,
        mean,
        value,
        spread,
        tolerance,
        difference,
        p,
        confidence,
        str(content.get("table", "")),
        needed,
        note,
    )


@dataclass(frozen=True)
class _Error:
    """The standard error of the difference of two means: variance and count of ours, variance of the paper's mean and its runs.

    Student's t with the quantiles of Cochran and Cox (1950), those of both samples weighed by their parts of the variance: with the three
    runs of many papers, Welch's degrees of freedom are too many. A spread that is said of one run counts as known.
    """

    variance: float
    count: int
    paper: float
    runs: int

    @property
    def size(self) -> float:
        return math.sqrt(self.variance / self.count + self.paper)

    def quantile(self, probability: float) -> float:
        own = self.variance / self.count
        first = t_quantile(probability, self.count - 1)
        if not self.paper:
            return first
        second = t_quantile(probability, self.runs - 1 if self.runs > 1 else KNOWN)
        return (own * first + self.paper * second) / (own + self.paper)

    def tail(self, ratio: float) -> float:
        """How likely chance puts a difference beyond so many standard errors, one-sided: what ``quantile`` turns around."""
        from scipy.optimize import brentq
        from scipy.special import stdtr

        if not self.paper:
            return float(stdtr(self.count - 1, -ratio))
        if ratio < 0:
            return 1 - self.tail(-ratio)
        least = math.log(1e-12)
        if ratio >= self.quantile(1 - 1e-12):
            return 1e-12
        return float(math.exp(brentq(lambda p: self.quantile(1 - math.exp(p)) - ratio, least, math.log(0.5))))

    def tails(self, difference: float, tolerance: float) -> tuple[float, float]:
        """One-sided p-values: that it lies inside of the tolerance only by chance, and outside."""
        left = tolerance - abs(difference)
        if self.size == 0:
            return float(left < 0), float(left >= 0)
        beyond, far = (self.tail(d / self.size) for d in (left, tolerance + abs(difference)))
        return max(beyond, far), 1 - beyond


def _needed(left: float, error: _Error, confidence: float) -> int | None:
    """The least number of seeds at which a difference that lies ``left`` from an end of the tolerance is told from it with power 0.8."""

    def decides(count: int) -> bool:
        one = _Error(error.variance, count, error.paper, error.runs)
        return left >= (one.quantile(0.5 + confidence / 2) + one.quantile(POWER)) * one.size

    if not decides(MOST_SEEDS):
        return None
    low, high = 1, MOST_SEEDS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if decides(middle) else (middle, high)
    return high
