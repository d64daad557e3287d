"""From a claim and the results of all arms and seeds to a verdict.

A claim reads ``{test: SENTENCE, says: ...}`` (``claims.sentences``). The verdict comes from the differences paired by seed
and their 95 % Student-t interval: ``reproduced`` if the whole interval lies on the claimed side of the threshold,
``contradicted`` if it lies on the other side, ``undecided`` if it holds the threshold. With "in every seed" or "in 80 % of the
seeds" the seeds on the claimed side are counted instead: ``reproduced`` if they are all or at least that share of them, else
``contradicted``.

Where an arm failed at a seed, claims that name it are ``undecided``; among the arms of a share it counts as one that
does not reach the bar.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kdrun.claims.statistics import Interval, mean_interval
from kdrun.errors import InputError, nearest
from kdrun.grammar.measurements import look_up
from kdrun.grammar.sentences import Metric, Sentence, Term, parse

__all__ = ["Results", "Verdict", "check_claims", "check_measured", "claimed_metrics", "judge", "judge_all"]

Results = Mapping[str, Mapping[int, Mapping[str, float]]]
"""arm → seed → what the run measured, by label."""


CLAIM_WORDS = ("test", "says", "reported", "confidence")


@dataclass(frozen=True)
class Verdict:
    """The outcome of one claim. ``differences``, one a seed, were compared with ``threshold``."""

    name: str
    says: str
    outcome: str
    test: str
    interval: Interval
    threshold: float
    differences: tuple[float, ...]
    note: str = ""
    reported: Mapping[str, Any] | None = None


def _sentence(name: str, claim: Mapping[str, Any]) -> Sentence:
    return parse(claim["test"], key=f"claims.{name}.test")


def check_claims(claims: Mapping[str, Any], arms: Sequence[str]) -> None:
    """Raise ``InputError`` (key ``claims.NAME.test``) for a claim that no results could decide."""
    if not isinstance(claims, Mapping):
        raise InputError("claims are a mapping from names to {test: ..., says: ...}", key="claims")
    for name, claim in claims.items():
        key = f"claims.{name}"
        if not isinstance(name, str) or not isinstance(claim, dict) or "test" not in claim or not claim.get("says"):
            raise InputError('a claim reads {test: arm.metric > arm.metric, says: "..."}', key=key)
        unknown = [word for word in claim if word not in CLAIM_WORDS]
        if unknown:
            raise InputError(f"a claim has no '{unknown[0]}'{nearest(unknown[0], CLAIM_WORDS)}", key=key)
        reported, confidence = claim.get("reported") or {}, claim.get("confidence", 0.95)
        if not isinstance(reported, Mapping):
            raise InputError("reported is a mapping of what the paper says", key=f"{key}.reported")
        if isinstance(confidence, bool) or not isinstance(confidence, int | float) or not 0 < confidence < 1:
            raise InputError(f"confidence lies between 0 and 1, got {confidence!r}", key=f"{key}.confidence")
        odd = [k for k in reported if not isinstance(k, str)]
        if odd:
            raise InputError(
                f"{odd[0]!r} is no name (YAML reads yes, no, on and off as true and false)", key=f"{key}.reported"
            )
        for metric in _sentence(name, claim).metrics():
            if metric.arm not in arms:
                raise InputError(
                    f"there is no arm '{metric.arm}'{nearest(metric.arm, arms)} in '{metric}'", key=f"{key}.test"
                )


def check_measured(claims: Mapping[str, Any], labels: Mapping[str, Sequence[str]]) -> None:
    """Raise ``InputError`` for a metric that an arm of a claim will not measure.

    ``labels`` are what arms will measure (``graph.columns.labels``); of arms that are not among them nothing is said.
    """
    for name, claim in claims.items():
        sentence, key = _sentence(name, claim), f"claims.{name}.test"
        for metric in sentence.metrics():
            if metric.arm in labels:
                look_up(metric.path, labels[metric.arm], what=f"arm '{metric.arm}' measures no", key=key)
        if sentence.kind == "share":
            look_up(
                sentence.metric, [one for known in labels.values() for one in known], what="no arm measures", key=key
            )


def claimed_metrics(claims: Mapping[str, Any]) -> list[str]:
    """The metrics that the claims name, without their arms, in order."""
    return list(dict.fromkeys(m.path for name, claim in claims.items() for m in _sentence(name, claim).metrics()))


def judge_all(claims: Mapping[str, Any], results: Results) -> list[Verdict]:
    """Judge every claim, in order."""
    return [judge(name, claim, results) for name, claim in claims.items()]


def judge(name: str, claim: Mapping[str, Any], results: Results) -> Verdict:
    """Judge one claim. Raises ``InputError`` if a metric it names was not measured."""
    sentence = _sentence(name, claim)
    differences = _VALUES[sentence.kind](sentence, results, f"claims.{name}.test")
    interval = mean_interval(differences, float(claim.get("confidence", 0.95)))
    failed = _failed([metric.arm for metric in sentence.metrics()], results)
    outcome, note = ("undecided", failed) if failed else _outcome(sentence, differences, interval)
    return Verdict(
        name,
        claim["says"],
        outcome,
        sentence.text,
        interval,
        sentence.threshold,
        tuple(differences),
        note,
        claim.get("reported"),
    )


def _failed(arms: Iterable[str], results: Results) -> str:
    """Which of the arms have no results at seeds at which others have; empty if none."""
    seeds = {seed for runs in results.values() for seed in runs}
    missing = {arm: len(seeds - set(results.get(arm, {}))) for arm in dict.fromkeys(arms)}
    return ", ".join(f"{arm} failed in {n} of {len(seeds)} seeds" for arm, n in missing.items() if n)


def _sums(sentence: Sentence, results: Results, key: str) -> list[float]:
    """The sum of the sentence's terms, by seed."""
    columns = [(term, [_column(m, results, key=key) for m in term.metrics()]) for term in sentence.terms]
    seeds = sorted(set.intersection(*[set(c) for _, several in columns for c in several]))
    return [sum(_term(term, [c[seed] for c in several]) for term, several in columns) for seed in seeds]


def _term(term: Term, values: Sequence[float]) -> float:
    if term.over is None:
        return term.factor * values[0]
    return term.factor * (values[0] / values[1] if values[1] else math.nan)


def _shares(sentence: Sentence, results: Results, key: str) -> list[float]:
    """By seed, the share of the other arms whose metric lies beyond the bar; what is not there does not."""
    baseline = {metric.arm for term in sentence.terms for metric in term.metrics()}
    others = [runs for arm, runs in results.items() if arm not in baseline]
    measured = [runs for runs in others if not runs or any(sentence.metric in v for v in runs.values())]
    if not measured:
        raise InputError(f"no other arm measured '{sentence.metric}'", key=key)
    columns = [_column(m, results, key=key) for term in sentence.terms for m in term.metrics()]
    if not columns:  # the bar is a number
        seeds = sorted({seed for runs in measured for seed in runs})
        bars = dict.fromkeys(seeds, 0.0)
    else:
        seeds = sorted(set.intersection(*[set(c) for c in columns]))
        bars = dict(zip(seeds, _sums(sentence, results, key), strict=True))
    found = []
    for seed in seeds:
        values = [runs.get(seed, {}).get(sentence.metric, math.nan) for runs in measured]
        beyond = [(v - bars[seed] - sentence.margin) * sentence.sign for v in values]
        found.append(sum(b >= 0 if sentence.loose else b > 0 for b in beyond) / len(values))
    return found


def _trends(sentence: Sentence, results: Results, key: str) -> list[float]:
    """By seed, Kendall's tau between the order of the arms and their values."""
    from scipy.stats import kendalltau

    columns = [_column(Metric(arm, sentence.metric), results, key=key) for arm in sentence.arms]
    seeds = sorted(set.intersection(*[set(c) for c in columns]))
    taus = [float(kendalltau(range(len(columns)), [c[s] for c in columns]).statistic) for s in seeds]
    return [0.0 if math.isnan(tau) else tau for tau in taus]


def _ranks(sentence: Sentence, results: Results, key: str) -> list[float]:
    """By seed, the arm's place among the others, 1 for the largest; ties share the mean of their places."""
    own = _column(sentence.terms[0].metric, results, key=key)
    others = [_column(Metric(arm, sentence.metric), results, key=key) for arm in sentence.arms]
    seeds = sorted(set.intersection(set(own), *[set(c) for c in others]))
    return [1.0 + sum((c[s] > own[s]) + 0.5 * (c[s] == own[s]) for c in others) for s in seeds]


_VALUES = {"compare": _sums, "near": _sums, "share": _shares, "trend": _trends, "rank": _ranks}


def _column(metric: Metric, results: Results, *, key: str) -> dict[int, float]:
    """A metric of an arm, by seed."""
    runs = results.get(metric.arm, {})
    if runs or metric.arm not in results:
        measured = [set(values) for values in runs.values()] or [set()]
        look_up(metric.path, sorted(set.intersection(*measured)), what=f"arm '{metric.arm}' measures no", key=key)
    return {seed: values[metric.path] for seed, values in runs.items()}


def _outcome(sentence: Sentence, differences: Sequence[float], interval: Interval) -> tuple[str, str]:
    if len(differences) < 2:
        return "undecided", "needs at least two seeds"
    if not all(map(math.isfinite, differences)):
        return "undecided", "not a number in some seeds"
    share = _share_sentence(sentence)
    if sentence.seeds is not None:
        holds = sum(share.holds(d) for d in differences)
        enough = holds >= sentence.seeds * len(differences) - 1e-9
        return ("reproduced" if enough else "contradicted"), f"{holds} of {len(differences)} seeds"
    low, high = share.side(interval.low), share.side(interval.high)
    if sentence.sign == 0:
        outside = interval.low > sentence.threshold or interval.high < -sentence.threshold
        return ("reproduced" if min(low, high) >= 0 else "contradicted" if outside else "undecided"), ""
    note = "no difference between seeds" if interval.low == interval.high else ""
    if min(low, high) > 0 or (note and share.holds(interval.mean)):
        return "reproduced", note
    if max(low, high) < 0 or note:
        return "contradicted", note
    return "undecided", note


def _share_sentence(sentence: Sentence) -> Sentence:
    """A share of arms is a number that must be large, whichever way its members are compared."""
    from dataclasses import replace

    return replace(sentence, sign=1, loose=True) if sentence.kind == "share" else sentence
