"""How far a sentence's number lies beyond its threshold, and how likely chance would have put it there.

The distance is oriented: above 0 as claimed, whatever the sign of the sentence. It is that of

- a difference (``a > b``, ``a >= b - 0.01``, sums, ranks, trends, shares): the mean over seeds less the threshold, by Student's t test;
- a ratio (``a / b < 0.5``, ``a < 0.5 * b``): the ratio of the means, by Fieller's theorem. Where the mean of a multiple's second
  metric may be 0, the difference ``a - 0.5 b`` takes its place;
- an equality (``a ~ b ± 0.01``): what the difference leaves of the margin, by two one-sided t tests (Schuirmann 1987).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from kdrun.claims.statistics import Interval, mean_interval, ratio_interval, tail
from kdrun.claims.values import Results, columns, values
from kdrun.grammar.sentences import Metric, Sentence

__all__ = ["Evidence", "evidence"]


@dataclass(frozen=True)
class Evidence:
    """``distance`` with its interval, that of each seed alone, and one-sided p-values.

    ``p_above``: how likely seeds lie this far above 0 where the true distance does not; ``p_below``: this far below.
    ``effect``: the mean in deviations of one seed's, which tells how many seeds would decide. ``method``: how it was tested.
    """

    distance: Interval
    distances: tuple[float, ...]
    p_above: float
    p_below: float
    effect: float
    method: str
    note: str = ""

    @property
    def p(self) -> float:
        """Two-sided: whether the claim's number lies on the threshold."""
        return min(1.0, 2 * min(self.p_above, self.p_below)) if self.distance.n > 1 else math.nan

    @property
    def favourable(self) -> bool:
        """Whether what was seen speaks for the claim."""
        return self.p_above < self.p_below


def evidence(sentence: Sentence, results: Results, confidence: float, key: str) -> Evidence:
    """Weigh a sentence. Raises ``InputError`` (with ``key``) for a metric that was not measured."""
    pair = _ratio(sentence)
    if pair is not None:
        found = _ratio_evidence(sentence, *pair, results, confidence, key)
        if found is not None:
            return found
    numbers = values(sentence, results, key)
    if sentence.sign == 0:
        return _equality(numbers, sentence.threshold, confidence)
    upward = replace(sentence, sign=1, loose=True) if sentence.kind == "share" else sentence
    distances = [upward.side(number) for number in numbers]
    return _difference(distances, upward.loose, mean_interval(distances, confidence), distances, "paired t test")


def _difference(
    tested: Sequence[float], loose: bool, distance: Interval, shown: Sequence[float], method: str
) -> Evidence:
    """``tested`` are compared with 0; ``shown`` is the distance of each seed."""
    p_above, p_below = tail(tested), tail([-value for value in tested])
    note = ""
    if len(tested) > 1 and len(set(tested)) == 1:
        note = "no difference between seeds"
        holds = tested[0] >= 0 if loose else tested[0] > 0
        p_above, p_below = float(not holds), float(holds)
    return Evidence(distance, tuple(shown), p_above, p_below, _effect(tested), method, note)


def _equality(numbers: Sequence[float], margin: float, confidence: float) -> Evidence:
    """The interval of the difference, turned into that of what it leaves of the margin."""
    found = mean_interval(numbers, confidence)
    farthest = max(abs(found.low), abs(found.high))
    nearest = 0.0 if found.low <= 0 <= found.high else min(abs(found.low), abs(found.high))
    distance = Interval(margin - abs(found.mean), margin - farthest, margin - nearest, found.n)
    below, above = [margin - number for number in numbers], [margin + number for number in numbers]
    outer = below if found.mean > 0 else above
    p_above, p_below = max(tail(below), tail(above)), tail([-value for value in outer])
    note = ""
    if len(numbers) > 1 and len(set(numbers)) == 1:
        note = "no difference between seeds"
        p_above, p_below = float(abs(numbers[0]) > margin), float(abs(numbers[0]) <= margin)
    shown = tuple(margin - abs(number) for number in numbers)
    return Evidence(distance, shown, p_above, p_below, _effect(outer), "two one-sided t tests", note)


def _ratio(sentence: Sentence) -> tuple[Metric, Metric, float, float] | None:
    """Both metrics of a sentence on one ratio, what it is multiplied by, and its threshold; None for another sentence."""
    if sentence.kind != "compare" or not 1 <= len(sentence.terms) <= 2:
        return None
    first, *rest = sentence.terms
    if not rest:
        return None if first.over is None else (first.metric, first.over, first.factor, sentence.threshold)
    second = rest[0]
    multiple = first.factor > 0 > second.factor and first.factor != -second.factor
    if sentence.threshold or first.over or second.over or not multiple:
        return None
    return first.metric, second.metric, 1.0, -second.factor / first.factor


def _ratio_evidence(
    sentence: Sentence,
    above: Metric,
    below: Metric,
    factor: float,
    threshold: float,
    results: Results,
    confidence: float,
    key: str,
) -> Evidence | None:
    """None where a multiple is better read as a difference."""
    first, second = columns([above, below], results, key)
    first = [factor * value for value in first]
    if len(first) < 2 or not all(map(math.isfinite, [*first, *second])):
        return None
    found = ratio_interval(first, second, confidence)
    bounded, multiple = math.isfinite(found.low), len(sentence.terms) > 1
    if multiple and (not bounded or statistics.fmean(second) < 0):
        return None
    way = sentence.sign * (-1 if statistics.fmean(second) < 0 else 1)
    tested = [way * (a - threshold * b) for a, b in zip(first, second, strict=True)]
    low, high = sorted(sentence.sign * (end - threshold) for end in (found.low, found.high))
    distance = Interval(sentence.sign * (found.mean - threshold), low, high, found.n)
    shown = [sentence.sign * (a / b - threshold) if b else math.nan for a, b in zip(first, second, strict=True)]
    weighed = _difference(tested, sentence.loose, distance, shown, "ratio of means by Fieller's theorem")
    if bounded:
        return weighed
    return replace(weighed, p_above=1.0, p_below=1.0, effect=math.nan, note=f"{below} may be 0")


def _effect(tested: Sequence[float]) -> float:
    if len(tested) < 2 or not all(map(math.isfinite, tested)):
        return math.nan
    deviation = statistics.stdev(tested)
    return statistics.fmean(tested) / deviation if deviation else math.nan
