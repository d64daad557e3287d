"""What a sentence speaks of, as a number a seed, from the results of all arms."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from kdrun.errors import InputError
from kdrun.grammar.measurements import look_up
from kdrun.grammar.sentences import Metric, Sentence, Term

__all__ = ["Results", "columns", "failed", "means", "values"]

Results = Mapping[str, Mapping[int, Mapping[str, float]]]
"""arm → seed → what the run measured, by label."""


def values(sentence: Sentence, results: Results, key: str) -> list[float]:
    """The sentence's number at each seed at which all that it reads was measured. Raises ``InputError`` for what was not."""
    return _VALUES[sentence.kind](sentence, results, key)


def columns(metrics: Sequence[Metric], results: Results, key: str) -> list[list[float]]:
    """The metrics' values at the seeds that all of them have."""
    found = [_column(metric, results, key=key) for metric in metrics]
    seeds = sorted(set.intersection(*map(set, found)))
    return [[column[seed] for seed in seeds] for column in found]


def means(sentence: Sentence, results: Results, key: str) -> dict[str, float]:
    """The mean over seeds of each metric that the sentence names, by ``arm.metric``."""
    found = {str(metric): _column(metric, results, key=key) for metric in sentence.metrics()}
    return {name: fmean(column.values()) if column else math.nan for name, column in found.items()}


def failed(arms: Iterable[str], results: Results) -> str:
    """Which of the arms have no results at seeds at which others have; empty if none."""
    seeds = {seed for runs in results.values() for seed in runs}
    missing = {arm: len(seeds - set(results.get(arm, {}))) for arm in dict.fromkeys(arms)}
    return ", ".join(f"{arm} failed in {n} of {len(seeds)} seeds" for arm, n in missing.items() if n)


def _sums(sentence: Sentence, results: Results, key: str) -> list[float]:
    """The sum of the sentence's terms, by seed."""
    found = [(term, [_column(m, results, key=key) for m in term.metrics()]) for term in sentence.terms]
    seeds = sorted(set.intersection(*[set(c) for _, several in found for c in several]))
    return [sum(_term(term, [c[seed] for c in several]) for term, several in found) for seed in seeds]


def _term(term: Term, numbers: Sequence[float]) -> float:
    if term.over is None:
        return term.factor * numbers[0]
    return term.factor * (numbers[0] / numbers[1] if numbers[1] else math.nan)


def _shares(sentence: Sentence, results: Results, key: str) -> list[float]:
    """By seed, the share of the other arms whose metric lies beyond the bar; what is not there does not."""
    baseline = {metric.arm for term in sentence.terms for metric in term.metrics()}
    others = [runs for arm, runs in results.items() if arm not in baseline]
    measured = [runs for runs in others if not runs or any(sentence.metric in v for v in runs.values())]
    if not measured:
        raise InputError(f"no other arm measured '{sentence.metric}'", key=key)
    bars = _bars(sentence, results, measured, key)
    found = []
    for seed, bar in bars.items():
        numbers = [runs.get(seed, {}).get(sentence.metric, math.nan) for runs in measured]
        beyond = [(number - bar - sentence.margin) * sentence.sign for number in numbers]
        found.append(sum(b >= 0 if sentence.loose else b > 0 for b in beyond) / len(numbers))
    return found


def _bars(
    sentence: Sentence, results: Results, measured: Sequence[Mapping[int, Mapping[str, float]]], key: str
) -> dict[int, float]:
    """By seed, what the arms are compared with, without the margin."""
    found = [_column(m, results, key=key) for term in sentence.terms for m in term.metrics()]
    if not found:  # the bar is a number
        return dict.fromkeys(sorted({seed for runs in measured for seed in runs}), 0.0)
    seeds = sorted(set.intersection(*map(set, found)))
    return dict(zip(seeds, _sums(sentence, results, key), strict=True))


def _trends(sentence: Sentence, results: Results, key: str) -> list[float]:
    """By seed, Kendall's tau between the order of the arms and their values."""
    from scipy.stats import kendalltau

    found = columns([Metric(arm, sentence.metric) for arm in sentence.arms], results, key)
    taus = [float(kendalltau(range(len(found)), row).statistic) for row in zip(*found, strict=True)]
    return [0.0 if math.isnan(tau) else tau for tau in taus]


def _ranks(sentence: Sentence, results: Results, key: str) -> list[float]:
    """By seed, the arm's place among the others, 1 for the largest; ties share the mean of their places."""
    others = [Metric(arm, sentence.metric) for arm in sentence.arms]
    own, *rest = columns([sentence.terms[0].metric, *others], results, key)
    return [1.0 + sum((c[i] > number) + 0.5 * (c[i] == number) for c in rest) for i, number in enumerate(own)]


_VALUES = {"compare": _sums, "near": _sums, "share": _shares, "trend": _trends, "rank": _ranks}


def _column(metric: Metric, results: Results, *, key: str) -> dict[int, float]:
    """A metric of an arm, by seed."""
    runs = results.get(metric.arm, {})
    if runs or metric.arm not in results:
        measured = [set(numbers) for numbers in runs.values()] or [set()]
        look_up(metric.path, sorted(set.intersection(*measured)), what=f"arm '{metric.arm}' measures no", key=key)
    return {seed: numbers[metric.path] for seed, numbers in runs.items()}
