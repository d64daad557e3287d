"""Whether claims can be decided by what their arms will measure; found before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kdrun.claims.agreement import check_reported, compared_at
from kdrun.errors import InputError, nearest
from kdrun.grammar.measurements import look_up
from kdrun.grammar.sentences import Sentence, parse

__all__ = ["KINDS", "check_claims", "check_measured", "check_read", "claimed_metrics", "read_arms", "sentence_of"]

CLAIM_WORDS = ("test", "kind", "says", "reported", "confidence")

KINDS = ("main", "secondary", "control", "precondition", "check")
"""What a claim is for: the paper's point, what else it says, what must fail to help, what must hold for any to be tested, an invariant."""


def sentence_of(name: str, claim: Mapping[str, Any]) -> Sentence:
    """A claim's test, read. Raises ``InputError`` with its key."""
    return parse(claim["test"], key=f"claims.{name}.test")


def check_claims(claims: Mapping[str, Any], arms: Sequence[str]) -> None:
    """Raise ``InputError`` (key ``claims.NAME.test``) for a claim that no results could decide."""
    if not isinstance(claims, Mapping):
        raise InputError("claims are a mapping from names to {test: ..., says: ...}", key="claims")
    for name, claim in claims.items():
        key = f"claims.{name}"
        if not isinstance(name, str) or not isinstance(claim, dict) or "test" not in claim or not claim.get("says"):
            raise InputError('a claim reads {test: arm.metric > arm.metric, says: "..."}', key=key)
        _check_words(claim, key)
        check_reported(claim, arms, key)
        for metric in sentence_of(name, claim).metrics():
            if metric.arm not in arms:
                raise InputError(
                    f"there is no arm '{metric.arm}'{nearest(metric.arm, arms)} in '{metric}'", key=f"{key}.test"
                )


def _check_words(claim: Mapping[str, Any], key: str) -> None:
    """The words of a claim."""
    for word in ("says", "kind"):
        if not isinstance(claim.get(word, ""), str):
            raise InputError(f"{word} is text, got {claim[word]!r}", key=f"{key}.{word}")
    unknown = [word for word in claim if word not in CLAIM_WORDS]
    if unknown:
        raise InputError(f"a claim has no '{unknown[0]}'{nearest(str(unknown[0]), CLAIM_WORDS)}", key=key)
    kind, reported, confidence = (
        claim.get("kind", "secondary"),
        claim.get("reported") or {},
        claim.get("confidence", 0.95),
    )
    if kind not in KINDS:
        raise InputError(
            f"a claim's kind is one of {', '.join(KINDS)}, got {kind!r}{nearest(str(kind), KINDS)}", key=f"{key}.kind"
        )
    if not isinstance(reported, Mapping):
        raise InputError("reported is a mapping of what the paper says", key=f"{key}.reported")
    if isinstance(confidence, bool) or not isinstance(confidence, int | float) or not 0 < confidence < 1:
        raise InputError(f"confidence lies between 0 and 1, got {confidence!r}", key=f"{key}.confidence")
    odd = [k for k in reported if not isinstance(k, str)]
    if odd:
        raise InputError(
            f"{odd[0]!r} is no name (YAML reads yes, no, on and off as true and false)", key=f"{key}.reported"
        )


def check_measured(claims: Mapping[str, Any], labels: Mapping[str, Sequence[str]], scale: str = "small") -> None:
    """Raise ``InputError`` for a metric that an arm of a claim will not measure, or that is compared with a reported number at this scale.

    ``labels`` are what arms will measure (``graph.columns.labels``); of arms that are not among them nothing is said.
    """
    for name, numbers in compared_at(claims, scale).items():
        for metric in numbers:
            if metric.arm in labels:
                key = f"claims.{name}.reported.{metric}"
                look_up(metric.path, labels[metric.arm], what=f"arm '{metric.arm}' measures no", key=key)
    for name, claim in claims.items():
        sentence, key = sentence_of(name, claim), f"claims.{name}.test"
        for metric in sentence.metrics():
            if metric.arm in labels:
                look_up(metric.path, labels[metric.arm], what=f"arm '{metric.arm}' measures no", key=key)
        if sentence.kind == "share":
            look_up(
                sentence.metric, [one for known in labels.values() for one in known], what="no arm measures", key=key
            )


def read_arms(claims: Mapping[str, Any]) -> set[str] | None:
    """The arms that the claims name; None where a claim on a share of them reads all."""
    sentences = [sentence_of(name, claim) for name, claim in claims.items()]
    if any(sentence.kind == "share" for sentence in sentences):
        return None
    return {metric.arm for sentence in sentences for metric in sentence.metrics()}


def check_read(claims: Mapping[str, Any], arms: Mapping[str, Any]) -> None:
    """Raise ``InputError`` (key ``arms.NAME``) for an arm that no claim reads and that does not say why it is there.

    ``arms``: what each changes; with ``exploratory: REASON`` it is there to be looked at. Where nothing is claimed, arms are compared by eye.
    """
    read = read_arms(claims)
    for name, arm in arms.items():
        reason = (arm or {}).get("exploratory")
        if reason is not None and (not isinstance(reason, str) or not reason.strip()):
            raise InputError(f"exploratory says why the arm is there, got {reason!r}", key=f"arms.{name}.exploratory")
        if not claims or read is None:
            continue
        if reason is None and name not in read:
            raise InputError(
                f"no claim reads arm '{name}': claim something of it, or say why it is there: exploratory: REASON",
                key=f"arms.{name}",
            )
        if reason is not None and name in read:
            raise InputError(f"a claim reads arm '{name}': it is not exploratory", key=f"arms.{name}.exploratory")


def claimed_metrics(claims: Mapping[str, Any]) -> list[str]:
    """The metrics that the claims name, without their arms, in order."""
    return list(dict.fromkeys(m.path for name, claim in claims.items() for m in sentence_of(name, claim).metrics()))
