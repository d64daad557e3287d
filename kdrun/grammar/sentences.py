"""Claims as sentences: parsed, never evaluated.

::

    kd.test.accuracy > scratch.test.accuracy + 0.01
    full.test.perplexity <= 1.05 * kd.test.perplexity            # at most so many times
    a.test.accuracy - b.test.accuracy > c.test.accuracy - d.test.accuracy
    small.cost.flops / large.cost.flops < 0.1                     # a ratio, seed by seed
    merged.test.accuracy ~ full.test.accuracy ± 0.01              # equal within a margin
    glc.test.h > source.test.h + 0.08 in every seed               # or: in 80 % of the seeds
    at least 70 % of arms: test.accuracy >= ce.test.accuracy - 0.005
    test.mrr rises over quarter, half, full                       # or: falls over
    rank of kd.test.accuracy among ce, dkd, nd <= 2               # 1 is the largest

A metric is ``arm.node.metric``. A sentence says of one number a seed on which side of a threshold it lies.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kdrun.errors import InputError

__all__ = ["Metric", "Sentence", "Term", "parse"]

_NAME = r"[A-Za-z_][\w.\[\]]*"
_NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_TOKEN = re.compile(rf"\s*({_NUMBER}|{_NAME}|[-+*/])")
_SEEDS = re.compile(r"^(?P<rest>.*?)\s+in (?:every seed|(?P<share>\d+(?:\.\d+)?) ?% of the seeds)$", re.S)
_SHARE = re.compile(
    rf"^at least (?P<least>{_NUMBER}) ?% of (?:the )?arms: (?P<metric>{_NAME}) *(?P<sign>>=|>|<=|<)(?P<bar>.+)$"
)
_TREND = re.compile(rf"^(?P<metric>{_NAME}) (?P<way>rises|falls) over (?P<arms>.+)$")
_RANK = re.compile(rf"^rank of (?P<metric>{_NAME}) among (?P<arms>.+?) *(?P<sign><=|<|>=|>) *(?P<bound>{_NUMBER})$")
_COMPARE = re.compile(r"^(?P<left>.+?)(?P<sign>>=|<=|>|<)(?P<right>.+)$", re.S)
_NEAR = re.compile(rf"^(?P<left>.+?)~(?P<right>.+?)±\s*(?P<margin>{_NUMBER})$", re.S)


@dataclass(frozen=True)
class Metric:
    """A metric of an arm: ``kd.test.accuracy``."""

    arm: str
    path: str

    @classmethod
    def of(cls, text: str, key: str) -> Metric:
        arm, dot, path = text.partition(".")
        if not dot or not path:
            raise InputError(f"a metric is named arm.node.metric, got '{text}'", key=key)
        return cls(arm, path)

    def __str__(self) -> str:
        return f"{self.arm}.{self.path}"


@dataclass(frozen=True)
class Term:
    """``factor`` times a metric, or times its ratio to another one."""

    factor: float
    metric: Metric
    over: Metric | None = None

    def metrics(self) -> Iterator[Metric]:
        yield self.metric
        if self.over is not None:
            yield self.over


@dataclass(frozen=True)
class Sentence:
    """What a claim says: the number of ``kind`` lies above (``sign`` 1) or below (-1) ``threshold``, or within it (0).

    ``seeds``: the share of the seeds that must hold by themselves; None where the interval decides.
    ``arms``: those that a trend or a rank goes over. ``loose``: equality holds, too. ``margin``: added to the bar of a share.
    """

    text: str
    kind: str
    terms: tuple[Term, ...]
    sign: int
    threshold: float
    loose: bool = False
    seeds: float | None = None
    arms: tuple[str, ...] = ()
    metric: str = ""
    margin: float = 0.0

    def metrics(self) -> list[Metric]:
        """Every metric of a named arm that the sentence reads."""
        named = [m for term in self.terms for m in term.metrics()]
        over = [Metric(arm, self.metric) for arm in self.arms]
        return list(dict.fromkeys([*named, *over]))

    def side(self, value: float) -> float:
        """Positive where ``value`` lies as claimed."""
        if self.sign == 0:
            return self.threshold - abs(value)
        return (value - self.threshold) * self.sign

    def holds(self, value: float) -> bool:
        """Whether one seed's value lies as claimed."""
        return self.side(value) >= 0 if self.loose or self.sign == 0 else self.side(value) > 0


def parse(test: Any, *, key: str) -> Sentence:
    """Read a sentence. Raises ``InputError`` (with ``key``) for anything else."""
    if isinstance(test, Mapping) or not isinstance(test, str):
        raise InputError("a test is a sentence, such as: kd.test.accuracy > scratch.test.accuracy + 0.01", key=key)
    text = " ".join(test.split())
    seeds = _SEEDS.match(text)
    if seeds is None:
        return replace(_parse(text, key), text=text)
    share = float(seeds.group("share") or 100) / 100
    if not 0 < share <= 1:
        raise InputError(f"a share of the seeds is above 0 and at most 100 %, got {share:.0%}", key=key)
    return replace(_parse(seeds.group("rest"), key), text=text, seeds=share)


def _parse(text: str, key: str) -> Sentence:
    if found := _SHARE.match(text):
        if float(found.group("least")) > 100:
            raise InputError(f"a share of the arms is at most 100 %, got {found.group('least')} %", key=key)
        terms, constant = _sum(found.group("bar"), key)
        sign = found.group("sign")
        return Sentence(
            text,
            "share",
            terms,
            1 if sign[0] == ">" else -1,
            float(found.group("least")) / 100,
            loose="=" in sign,
            metric=found.group("metric"),
            margin=constant,
        )
    if found := _TREND.match(text):
        arms = _arms(found.group("arms"), key, least=2)
        sign = 1 if found.group("way") == "rises" else -1
        return Sentence(text, "trend", (), sign, 0.0, arms=arms, metric=found.group("metric"))
    if found := _RANK.match(text):
        metric = Metric.of(found.group("metric"), key)
        arms = _arms(found.group("arms"), key, least=1)
        sign = found.group("sign")
        others = tuple(arm for arm in arms if arm != metric.arm)
        if not others:
            raise InputError("a rank is one among other arms", key=key)
        bound = float(found.group("bound"))
        return Sentence(
            text, "rank", (Term(1.0, metric),), _way(sign), bound, "=" in sign, arms=others, metric=metric.path
        )
    if found := _NEAR.match(text):
        return _compared(text, found.group("left"), found.group("right"), "~", key, float(found.group("margin")))
    if found := _COMPARE.match(text):
        return _compared(text, found.group("left"), found.group("right"), found.group("sign"), key)
    raise InputError(f"'{text}' compares nothing: write >, <, >=, <= or ~ … ± between metrics", key=key)


def _compared(text: str, left: str, right: str, sign: str, key: str, margin: float = 0.0) -> Sentence:
    if re.search(r"[<>=~±]", right):
        raise InputError(f"'{text}' makes more than one comparison", key=key)
    first, above = _sum(left, key)
    second, below = _sum(right, key)
    terms = (*first, *(replace(t, factor=-t.factor) for t in second))
    if not terms:
        raise InputError(f"'{text}' names no metric", key=key)
    if not first and sign != "~":  # 0.9 < a.x is a.x > 0.9
        terms = tuple(replace(t, factor=-t.factor) for t in terms)
        return Sentence(text, "compare", terms, -_way(sign), above - below, loose="=" in sign)
    if sign == "~":
        if above or below:
            raise InputError("what is equal within a margin has no constant beside it", key=key)
        return Sentence(text, "near", terms, 0, margin)
    return Sentence(text, "compare", terms, _way(sign), below - above, loose="=" in sign)


def _way(sign: str) -> int:
    return 1 if sign[0] == ">" else -1


def _arms(text: str, key: str, *, least: int) -> tuple[str, ...]:
    arms = tuple(piece.strip() for piece in text.split(","))
    if len(set(arms)) < max(least, len(arms)) or not all(re.fullmatch(r"\w+", arm) for arm in arms):
        raise InputError(f"arms are named one after another, got '{text}'", key=key)
    return arms


def _sum(text: str, key: str) -> tuple[tuple[Term, ...], float]:
    """The terms of a sum and its constant."""
    terms: list[Term] = []
    constant = 0.0
    for sign, tokens in _pieces(text, key):
        term, number = _product(tokens, text, key)
        if term is None:
            constant += sign * number
        else:
            terms.append(replace(term, factor=sign * number))
    return tuple(terms), constant


def _pieces(text: str, key: str) -> Iterator[tuple[float, list[str]]]:
    tokens = _tokens(text, key)
    sign = 1.0
    piece: list[str] = []
    for token in tokens:
        if token in "+-":
            if piece and piece[-1] not in "*/":
                yield sign, piece
                sign, piece = (1.0 if token == "+" else -1.0), []
            elif not piece:
                sign *= 1.0 if token == "+" else -1.0
            else:
                raise InputError(f"cannot read '{text.strip()}'", key=key)
        else:
            piece.append(token)
    if not piece:
        raise InputError(f"'{text.strip()}' ends too early", key=key)
    yield sign, piece


def _tokens(text: str, key: str) -> list[str]:
    found, place = [], 0
    while text[place:].strip():
        match = _TOKEN.match(text, place)
        if match is None:
            raise InputError(f"cannot read '{text[place:].strip()}' in a claim", key=key)
        found.append(match.group(1))
        place = match.end()
    return found


def _product(tokens: Sequence[str], text: str, key: str) -> tuple[Term | None, float]:
    """``2 * a.x``, ``a.x / b.y``, ``2 * a.x / b.y`` or a number: the term (None for a number) and its factor."""
    numbers = [t for t in tokens if re.fullmatch(_NUMBER, t)]
    names = [t for t in tokens if re.fullmatch(_NAME, t)]
    shape = "".join("n" if t in numbers else "m" if t in names else t for t in tokens)
    if shape not in ("n", "m", "n*m", "m/m", "n*m/m"):
        raise InputError(
            f"cannot read '{text.strip()}': a term is a number, a metric, 2 * metric or metric / metric", key=key
        )
    factor = float(numbers[0]) if numbers else 1.0
    if not names:
        return None, factor
    metrics = [Metric.of(name, key) for name in names]
    return Term(1.0, metrics[0], metrics[1] if len(metrics) > 1 else None), factor
