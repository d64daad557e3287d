"""From claims and the results of all arms and seeds to verdicts.

A claim reads ``{test: SENTENCE, says: ...}`` (``grammar.sentences``), with ``kind`` where it is not secondary. What its sentence speaks
of is weighed by ``claims.evidence``; main and secondary claims of a recipe are corrected together (Holm). The outcome is

- ``reproduced`` if the distance beyond the threshold lies above 0, ``contradicted`` if it lies below: the two-sided p-value, adjusted,
  is at most 1 - ``confidence``;
- ``equal``, where two one-sided tests put a difference inside its stated margin;
- ``undecided`` otherwise, with the number of seeds at which a difference like the one seen would be decided with power 0.8;
- ``not testable here`` if a precondition of the recipe is contradicted.

With "in every seed" or "in 80 % of the seeds" so many seeds must lie on the claimed side, too, for ``reproduced``; the claim is contradicted only
where the interval does it. Where an arm failed at a seed, claims that name it are ``undecided``; among the arms of a share it
counts as one that does not reach the bar. While a precondition is undecided, so are the claims that rest on it; checks rest on none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kdrun.claims.checking import sentence_of
from kdrun.claims.evidence import Evidence, evidence
from kdrun.claims.spending import sequential_p
from kdrun.claims.statistics import Interval, holm, seeds_needed
from kdrun.claims.values import Results, failed, means
from kdrun.grammar.sentences import Sentence

__all__ = ["OUTCOMES", "Verdict", "judge", "judge_all", "judge_at_looks"]

OUTCOMES = ("reproduced", "contradicted", "equal", "undecided", "not testable here")
CORRECTED = ("main", "secondary")
RESTING = ("main", "secondary", "control")
"""Kinds of claims that mean nothing where a precondition does not hold."""


@dataclass(frozen=True)
class Verdict:
    """The outcome of one claim.

    ``distance`` beyond the threshold, above 0 as claimed, over ``distance.n`` seeds; ``distances`` of each seed alone, of which
    ``held`` lie as claimed. ``means`` of what the sentence names, by ``arm.metric``. ``p``: two-sided; ``adjusted_p``: as one of several
    claims. ``seeds_needed``: where undecided, how many would decide (None: above ten thousand, or no number would).
    """

    name: str
    says: str
    kind: str
    outcome: str
    test: str
    distance: Interval
    distances: tuple[float, ...]
    held: int
    means: Mapping[str, float]
    p: float
    adjusted_p: float
    confidence: float
    method: str
    seeds_needed: int | None = None
    note: str = ""
    reported: Mapping[str, Any] | None = None

    @property
    def decided(self) -> bool:
        return self.outcome in ("reproduced", "contradicted", "equal")


@dataclass(frozen=True)
class Weighed:
    """A claim with what its sentence says and what speaks for it. ``failed``: arms without results."""

    name: str
    claim: Mapping[str, Any]
    sentence: Sentence
    found: Evidence
    means: Mapping[str, float]
    failed: str

    @property
    def kind(self) -> str:
        return str(self.claim.get("kind", "secondary"))

    @property
    def confidence(self) -> float:
        return float(self.claim.get("confidence", 0.95))

    @property
    def alpha(self) -> float:
        return 1 - self.confidence

    @property
    def held(self) -> int:
        """How many seeds lie as claimed by themselves."""
        loose = self.sentence.loose or self.sentence.sign == 0 or self.sentence.kind == "share"
        return sum(d >= 0 if loose else d > 0 for d in self.found.distances)

    @property
    def enough(self) -> bool:
        """Whether as many seeds lie as claimed as the sentence wants."""
        return self.sentence.seeds is None or self.held >= self.sentence.seeds * self.found.distance.n - 1e-9

    @property
    def p(self) -> float:
        return math.nan if self.failed else self.found.p


def judge(name: str, claim: Mapping[str, Any], results: Results) -> Verdict:
    """Judge one claim by itself. Raises ``InputError`` if a metric it names was not measured."""
    return judge_all({name: claim}, results)[0]


def judge_all(claims: Mapping[str, Any], results: Results) -> list[Verdict]:
    """Judge every claim, in order. Raises ``InputError`` if a metric that one of them names was not measured."""
    weighed = weigh_all(claims, results)
    return conditioned(compared(weighed, {one.name: one.p for one in weighed}))


def judge_at_looks(
    claims: Mapping[str, Any], results: Results, seeds: Sequence[int], looks: tuple[int, ...]
) -> list[Verdict]:
    """Judge claims as often as the seeds that are there allow; what one look decides stays decided.

    ``looks``: all numbers of seeds at which one means to look (``claims.spending``), of which the last is the most. The verdict on a
    claim is that of the look that decided it, over the first of ``seeds``; that on the others of the last look.
    """
    decided: dict[str, Verdict] = {}
    least: dict[tuple[str, bool], tuple[float, int, Weighed]] = {}
    verdicts: list[Verdict] = []
    for at, count in enumerate(looks):
        if count > len(seeds):
            break
        there = {arm: {s: runs[s] for s in seeds[:count] if s in runs} for arm, runs in results.items()}
        weighed = weigh_all(claims, there)
        for one in weighed:
            p, side = sequential_p(one.p, at, looks), (one.name, one.found.favourable)
            if side not in least or p < least[side][0]:
                least[side] = min(p, 1.0), at, one
        strongest = [least[one.name, one.found.favourable] for one in weighed]
        chances = {one.name: p for p, _, one in strongest}
        verdicts = [_at_look(v, at, looks) for v in compared(weighed, chances)]
        # one that others' verdicts decide by Holm stands with the seeds that spoke most clearly
        earlier = zip(verdicts, compared([one for *_, one in strongest], chances), strongest, strict=True)
        shown = [
            _at_look(b, look, looks) if v.decided and b.outcome == v.outcome else v for v, b, (_, look, _) in earlier
        ]
        decided = {v.name: v for v in shown if v.decided} | decided
        verdicts = [decided.get(v.name, v) for v in shown]
    return conditioned(verdicts)


def _at_look(verdict: Verdict, at: int, looks: Sequence[int]) -> Verdict:
    return replace(verdict, note="; ".join(filter(None, [verdict.note, f"at look {at + 1} of {len(looks)}"])))


def weigh_all(claims: Mapping[str, Any], results: Results) -> list[Weighed]:
    """What speaks for each claim. Raises ``InputError`` if a metric that one of them names was not measured."""
    return [_weigh(name, claim, results) for name, claim in claims.items()]


def compared(weighed: Sequence[Weighed], chances: Mapping[str, float]) -> list[Verdict]:
    """Verdicts from p-values, corrected for main and secondary claims together; preconditions are not heeded yet."""
    corrected = [one for one in weighed if one.kind in CORRECTED]
    adjusted = {**chances, **holm({one.name: chances[one.name] for one in corrected})}
    waiting = max(1, sum(not adjusted[one.name] <= one.alpha for one in corrected))
    return [_verdict(one, adjusted[one.name], waiting if one.kind in CORRECTED else 1) for one in weighed]


def _weigh(name: str, claim: Mapping[str, Any], results: Results) -> Weighed:
    sentence, key = sentence_of(name, claim), f"claims.{name}.test"
    found = evidence(sentence, results, float(claim.get("confidence", 0.95)), key)
    missing = failed([metric.arm for metric in sentence.metrics()], results)
    return Weighed(name, claim, sentence, found, means(sentence, results, key), missing)


def _verdict(one: Weighed, adjusted: float, waiting: int) -> Verdict:
    """``waiting``: how many claims of the family are undecided; the next of them is tested at alpha over their number."""
    outcome, note = _outcome(one, adjusted)
    open_ = outcome == "undecided" and not one.failed and one.enough
    return Verdict(
        name=one.name,
        says=one.claim["says"],
        kind=one.kind,
        outcome=outcome,
        test=one.sentence.text,
        distance=one.found.distance,
        distances=one.found.distances,
        held=one.held,
        means=one.means,
        p=one.p,
        adjusted_p=adjusted,
        confidence=one.confidence,
        method=one.found.method,
        seeds_needed=seeds_needed(one.found.effect, one.alpha / waiting) if open_ else None,
        note=note,
        reported=one.claim.get("reported"),
    )


def _outcome(one: Weighed, adjusted: float) -> tuple[str, str]:
    """The outcome and what is to be said of it."""
    if one.failed:
        return "undecided", one.failed
    if one.found.distance.n < 2:
        return "undecided", "needs at least two seeds"
    if math.isnan(one.p):
        return "undecided", "not a number in some seeds"
    if not adjusted <= one.alpha:
        several = "not after correction for several claims and looks" if one.p <= one.alpha else ""
        return "undecided", one.found.note or several
    if not one.found.favourable:
        return "contradicted", one.found.note
    if not one.enough:
        return "undecided", "as claimed on average, but not in as many seeds"
    return ("equal" if one.sentence.sign == 0 else "reproduced"), one.found.note


def conditioned(verdicts: list[Verdict]) -> list[Verdict]:
    """What rests on preconditions is not testable where one of them is contradicted, and undecided where one is."""
    conditions = [v for v in verdicts if v.kind == "precondition"]
    for outcome, instead in (("contradicted", "not testable here"), ("undecided", "undecided")):
        names = [v.name for v in conditions if v.outcome == outcome]
        if names:
            note = f"precondition {', '.join(names)} is {outcome}"
            return [
                replace(v, outcome=instead, note=note, seeds_needed=None) if v.kind in RESTING else v for v in verdicts
            ]
    return verdicts
