"""From a claim and the results of all arms and seeds to a verdict.

A claim's test names metrics as ``arm.path``::

    test: {greater: [kd.test.accuracy, scratch.test.accuracy], by: 0.0}
    test: {share: [test.accuracy, scratch.test.accuracy], by: -0.005, least: 0.7}     # of the other arms
    test: {greater: [kd.test.loss - ce.test.loss, 0.5 * nd.test.loss]}                  # sums, differences, multiples
    test: {greater: [kd.test.accuracy, scratch.test.accuracy], seed_share: 0.8}         # in 4 of 5 seeds, 8 of 10

The verdict comes from the differences paired by seed and their 95 % Student-t interval: ``reproduced`` if the
whole interval lies on the claimed side of the threshold, ``contradicted`` if it lies on the other side,
``undecided`` if it holds the threshold. With ``every_seed: true`` or a ``seed_share`` the seeds on the claimed side are
counted instead: ``reproduced`` if they are all or at least that share of them, else ``contradicted``.

Where an arm failed at a seed, claims that name it are ``undecided``; among the arms of a share it counts as one that
does not reach the bar.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kdrun.claims.statistics import Interval, mean_interval
from kdrun.errors import InputError, nearest

__all__ = ["Results", "Verdict", "check_claims", "check_measured", "claimed_metrics", "judge", "judge_all"]

Results = Mapping[str, Mapping[int, Mapping[str, float]]]
"""arm → seed → metric path → value."""

PAIRS = ("greater", "less", "within", "share")
SINGLES = ("above", "below")
OPTIONS = ("by", "times", "every_seed", "seed_share", "confidence", "least")


@dataclass(frozen=True)
class Verdict:
    """The outcome of one claim. ``difference`` is what was compared with ``threshold``, one value a seed."""

    name: str
    says: str
    outcome: str
    test: str
    interval: Interval
    threshold: float
    differences: tuple[float, ...]
    note: str = ""
    reported: Mapping[str, Any] | None = None


def check_claims(claims: Mapping[str, Any], arms: Sequence[str]) -> None:
    """Raise ``InputError`` (key ``claims.NAME.test``) for a claim that no results could decide."""
    for name, claim in claims.items():
        key = f"claims.{name}"
        if not isinstance(claim, dict) or not isinstance(claim.get("test"), dict) or not claim.get("says"):
            raise InputError("a claim reads {says: ..., test: {greater: [arm.metric, arm.metric]}}", key=key)
        odd = [k for k in claim.get("reported") or {} if not isinstance(k, str)]
        if odd:
            raise InputError(
                f"{odd[0]!r} is no name (YAML reads yes, no, on and off as true and false)", key=f"{key}.reported"
            )
        word, paths = _parse(claim["test"], key=f"{key}.test")
        wanted = claim["test"].get("seed_share")
        if wanted is not None and not (isinstance(wanted, int | float) and 0 < wanted <= 1):
            raise InputError(
                f"a share of the seeds is above 0 and at most 1, got {wanted!r}", key=f"{key}.test.seed_share"
            )
        if word == "share" and not isinstance(claim["test"].get("least"), int | float):
            raise InputError("a share is compared with a number: least: 0.7", key=f"{key}.test")
        for arm, metric in _metrics(word, paths):
            if arm not in arms:
                raise InputError(
                    f"there is no arm '{arm}'{nearest(arm, arms)} in '{arm}.{metric}'", key=f"{key}.test.{word}"
                )


def check_measured(claims: Mapping[str, Any], nodes: Mapping[str, Iterable[str]]) -> None:
    """Raise ``InputError`` for a metric of a claim that none of its arm's ``nodes``, by name, could measure."""
    for name, claim in claims.items():
        key = f"claims.{name}.test"
        word, paths = _parse(claim["test"], key=key)
        for arm, metric in _metrics(word, paths):
            known = list(nodes[arm])
            if not any(metric.startswith(f"{node}.") for node in known):
                near = nearest(metric.rpartition(".")[0], known)
                raise InputError(f"arm '{arm}' has no node that measures '{metric}'{near}", key=f"{key}.{word}")


def claimed_metrics(claims: Mapping[str, Any]) -> list[str]:
    """The metrics that the claims name, without their arms, in order."""
    parsed = [_parse(claim["test"], key=f"claims.{name}.test") for name, claim in claims.items()]
    return list(dict.fromkeys(metric for word, paths in parsed for _, metric in _metrics(word, paths)))


def _metrics(word: str, paths: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Arm and metric of every term of a parsed test."""
    for path in paths[1:] if word == "share" else paths:
        for _, term in _terms(path):
            arm, _, metric = term.partition(".")
            yield arm, metric


def _parse(test: Mapping[str, Any], *, key: str) -> tuple[str, list[str]]:
    words = [w for w in test if w in PAIRS + SINGLES]
    unknown = [w for w in test if w not in PAIRS + SINGLES + OPTIONS]
    if unknown or len(words) != 1:
        wrong = unknown[0] if unknown else ", ".join(words) or "nothing"
        raise InputError(
            f"a test has one of {', '.join(PAIRS + SINGLES)}, got '{wrong}'{nearest(wrong, PAIRS + SINGLES + OPTIONS)}",
            key=key,
        )
    word = words[0]
    given = test[word]
    if not isinstance(given, list) or len(given) != 2:
        raise InputError(f"'{word}' takes a list of two, got {given!r}", key=f"{key}.{word}")
    paths = given if word in PAIRS else given[:1]
    if not all(isinstance(p, str) and all("." in name for _, name in _terms(p)) for p in paths):
        raise InputError(f"'{word}' names metrics as arm.node.metric, got {given!r}", key=f"{key}.{word}")
    return word, list(paths)


def _terms(path: str) -> list[tuple[float, str]]:
    """Factors and metrics of a sum: ``a.x - 0.5 * b.y`` is ``[(1, a.x), (-0.5, b.y)]``."""
    found, sign = [], 1.0
    for piece in re.split(r"\s([+-])\s", path):
        if piece in ("+", "-"):
            sign = 1.0 if piece == "+" else -1.0
            continue
        factor, star, name = piece.rpartition("*")
        found.append((sign * (float(factor) if star and factor.strip() else 1.0), name.strip()))
    return found


def judge_all(claims: Mapping[str, Any], results: Results) -> list[Verdict]:
    """Judge every claim, in order."""
    return [judge(name, claim, results) for name, claim in claims.items()]


def judge(name: str, claim: Mapping[str, Any], results: Results) -> Verdict:
    """Judge one claim. Raises ``InputError`` if a metric it names was not measured."""
    test = claim["test"]
    word, paths = _parse(test, key=f"claims.{name}.test")
    key = f"claims.{name}.test.{word}"
    columns = [_column(path, results, key=key) for path in (paths[1:] if word == "share" else paths)]
    seeds = sorted(set.intersection(*[set(c) for c in columns]))
    margin = float(test.get("by", 0.0))
    if word == "share":
        threshold = float(test["least"])
        differences = [
            _share(paths[0], paths[1].split(".", 1)[0], columns[0][s] + margin, s, results, key) for s in seeds
        ]
    elif word in SINGLES:
        threshold = float(test[word][1])
        differences = [columns[0][s] for s in seeds]
    else:
        threshold = margin
        times = float(test.get("times", 1.0))
        differences = [columns[0][s] - times * columns[1][s] for s in seeds]
    interval = mean_interval(differences, float(test.get("confidence", 0.95)))
    failed = _failed([arm for arm, _ in _metrics(word, paths)], results)
    outcome, note = _outcome(word, differences, interval, threshold, _wanted_share(test))
    if failed:
        outcome, note = "undecided", failed
    return Verdict(
        name,
        claim["says"],
        outcome,
        _text(word, test),
        interval,
        threshold,
        tuple(differences),
        note,
        claim.get("reported"),
    )


def _failed(arms: Iterable[str], results: Results) -> str:
    """Which of the arms have no results at seeds at which others have; empty if none."""
    seeds = {seed for runs in results.values() for seed in runs}
    missing = {arm: len(seeds - set(results.get(arm, {}))) for arm in dict.fromkeys(arms)}
    return ", ".join(f"{arm} failed in {n} of {len(seeds)} seeds" for arm, n in missing.items() if n)


def _wanted_share(test: Mapping[str, Any]) -> float | None:
    """The share of seeds that must hold by themselves; None where the interval decides."""
    return 1.0 if test.get("every_seed") else test.get("seed_share")


def _share(metric: str, baseline: str, bar: float, seed: int, results: Results, key: str) -> float:
    """The share of the arms other than ``baseline`` whose ``metric`` at ``seed`` reaches ``bar``; not there is not reached."""
    others = [runs for arm, runs in results.items() if arm != baseline]
    values = [
        runs.get(seed, {}).get(metric, -math.inf)
        for runs in others
        if not runs or any(metric in v for v in runs.values())
    ]
    if not values:
        raise InputError(f"no other arm measured '{metric}'", key=key)
    return sum(value >= bar for value in values) / len(values)


def _text(word: str, test: Mapping[str, Any]) -> str:
    first, second = test[word]
    if word == "share":
        offset = f" {test['by']:+}" if test.get("by") else ""
        return f"share of arms with {first} ≥ {second}{offset}, at least {test['least']}"
    sign = {"greater": ">", "less": "<", "within": "≈", "above": ">", "below": "<"}[word]
    margin = (
        f" + {test['by']}"
        if test.get("by") and word != "within"
        else f" ± {test.get('by')}"
        if word == "within"
        else ""
    )
    times = f"{test['times']} × " if test.get("times") else ""
    share = _wanted_share(test)
    seeds = "" if share is None else " in every seed" if share == 1 else f" in {share:.0%} of the seeds"
    return f"{first} {sign} {times}{second}{margin}{seeds}"


def _column(path: str, results: Results, *, key: str) -> dict[int, float]:
    """The value of a sum of metrics, by seed."""
    terms = [(factor, _metric(name, results, key=key)) for factor, name in _terms(path)]
    seeds = set.intersection(*[set(values) for _, values in terms])
    return {seed: sum(factor * values[seed] for factor, values in terms) for seed in sorted(seeds)}


def _metric(path: str, results: Results, *, key: str) -> dict[int, float]:
    arm, metric = path.split(".", 1)
    runs = results.get(arm, {})
    missing = [seed for seed, values in runs.items() if metric not in values]
    if missing or arm not in results:
        known = sorted({m for values in runs.values() for m in values})
        raise InputError(
            f"arm '{arm}' measured no '{metric}'{nearest(metric, known)}; it has: {', '.join(known)}", key=key
        )
    return {seed: values[metric] for seed, values in runs.items()}


def _outcome(
    word: str, differences: Sequence[float], interval: Interval, threshold: float, share: float | None
) -> tuple[str, str]:
    if len(differences) < 2:
        return "undecided", "needs at least two seeds"
    if not all(map(math.isfinite, differences)):
        return "undecided", "not a number in some seeds"
    if share is not None:
        holds = sum(_side(word, d, threshold) > 0 for d in differences)
        enough = holds >= share * len(differences) - 1e-9
        return ("reproduced" if enough else "contradicted"), f"{holds} of {len(differences)} seeds"
    if word == "within":
        if interval.low >= -threshold and interval.high <= threshold:
            return "reproduced", ""
        outside = interval.low > threshold or interval.high < -threshold
        return ("contradicted" if outside else "undecided"), ""
    low, high = _side(word, interval.low, threshold), _side(word, interval.high, threshold)
    note = "no difference between seeds" if interval.low == interval.high else ""
    if min(low, high) > 0:
        return "reproduced", note
    if max(low, high) < 0 or (note and max(low, high) <= 0):
        return "contradicted", note
    return "undecided", note


def _side(word: str, value: float, threshold: float) -> float:
    """Positive on the claimed side of the threshold."""
    if word == "within":
        return threshold - abs(value)
    return (value - threshold) * (1 if word in ("greater", "above", "share") else -1)
