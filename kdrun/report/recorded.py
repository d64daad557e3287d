"""Results that were written down, a file a recipe: seeds, verdicts, and the means and budgets of arms."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from kdrun.errors import InputError
from kdrun.grammar.sentences import Sentence, parse

__all__ = ["judged", "oriented", "recorded_in"]


def recorded_in(folder: Path) -> dict[str, Any]:
    """By recipe, of the files in a folder: the number of ``seeds``, the ``leaderboard`` (header and rows, or None) and the ``verdicts``.

    Where they were recorded: the means of ``arms`` and their ``budgets`` (header and rows each), and lines on ``unclaimed`` arms ahead of the method. Raises ``InputError`` for a file of another form.
    """
    found = {}
    for path in sorted(folder.rglob("*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            verdicts = [oriented(verdict) for verdict in content["verdicts"]]
            found[path.relative_to(folder).with_suffix("").as_posix()] = {**content, "verdicts": verdicts}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(f"{path} holds no result that was written down: {error or type(error).__name__}") from None
    return found


def oriented(verdict: dict[str, Any]) -> dict[str, Any]:
    """A verdict with its ``distance``: older ones hold the ``mean`` of what the sentence compares with its threshold.

    They were contradicted by a single seed, too, and said "reproduced" of what is equal.
    """
    if "distance" in verdict:
        return verdict
    sentence = parse(verdict["test"], key=verdict["name"])
    mean, low, high = (verdict[word] for word in ("mean", "low", "high"))
    if sentence.sign == 0:
        nearest = 0.0 if low <= 0 <= high else min(abs(low), abs(high))
        mean, low, high = (sentence.threshold - x for x in (abs(mean), max(abs(low), abs(high)), nearest))
    else:
        sign = 1 if sentence.kind == "share" else sentence.sign
        mean = sign * (mean - sentence.threshold)
        low, high = sorted(sign * (end - sentence.threshold) for end in (low, high))
    outcome = verdict["outcome"]
    if outcome == "contradicted" and high > 0:
        outcome = "undecided"
    if outcome == "reproduced" and sentence.sign == 0:
        outcome = "equal"
    rest = {word: verdict[word] for word in ("name", "says", "test")}
    return {**rest, "outcome": outcome, "distance": mean, "low": low, "high": high}


def judged(claims: dict[str, Any], verdicts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The recipe's claims, in order, each with the recorded verdict on its very sentence, if there is one."""
    recorded = {(v["name"], _meaning(v["name"], v["test"])): v for v in verdicts}
    rows = []
    for name, claim in claims.items():
        found = recorded.get((name, _meaning(name, claim["test"])), {"outcome": "not judged"})
        words = {"says": claim["says"], "test": claim["test"], "kind": claim.get("kind", "secondary")}
        rows.append({**found, **words})
    return rows


def _meaning(name: str, test: str) -> Sentence:
    """A sentence without its wording. Strictness changes no distance, and older results do not tell it."""
    return replace(parse(test, key=name), text="", loose=False)
