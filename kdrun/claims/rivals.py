"""Arms that do better than the method and that no claim reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kdrun.claims.checking import read_arms, sentence_of
from kdrun.claims.statistics import Interval, mean_interval
from kdrun.claims.values import Results
from kdrun.grammar.sentences import Metric

__all__ = ["Rival", "compared_arm", "unclaimed_winners"]


@dataclass(frozen=True)
class Rival:
    """``arm`` is ahead of ``method`` on a main claim's metric by ``lead``, the mean over shared seeds, above 0 as the better."""

    arm: str
    method: str
    metric: str
    claim: str
    lead: Interval


def unclaimed_winners(claims: Mapping[str, Any], results: Results) -> list[Rival]:
    """By main claims, in order, the arms that no claim names and whose mean is beyond that of the claim's first arm.

    A share of arms names them all.
    """
    read = read_arms(claims)
    if read is None:
        return []
    found = []
    for name, method, way in _methods(claims):
        for arm, runs in results.items():
            own = {s: v[method.path] for s, v in results.get(method.arm, {}).items() if method.path in v}
            leads = [way * (v[method.path] - own[s]) for s, v in sorted(runs.items()) if s in own and method.path in v]
            if arm not in read and leads and (lead := mean_interval(leads)).mean > 0:
                found.append(Rival(arm, method.arm, method.path, name, lead))
    return found


def compared_arm(claims: Mapping[str, Any]) -> str | None:
    """The method's arm: that which the first main claim on a comparison names first, else the first such claim; None without one."""
    named = [(claim.get("kind") == "main", sentence_of(name, claim)) for name, claim in claims.items()]
    found = [(main, sentence.terms[0].metric.arm) for main, sentence in named if sentence.terms]
    return next((arm for main, arm in found if main), next((arm for _, arm in found), None))


def _methods(claims: Mapping[str, Any]) -> Iterator[tuple[str, Metric, int]]:
    """Of each main claim the metric that it names first, and 1 if more of it is better, -1 if less."""
    for name, claim in claims.items():
        sentence = sentence_of(name, claim)
        if claim.get("kind") == "main" and sentence.kind == "compare" and len(sentence.terms) <= 2:
            first = sentence.terms[0]
            yield name, first.metric, sentence.sign * (1 if first.factor > 0 else -1)
