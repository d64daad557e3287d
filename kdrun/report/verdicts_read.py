"""Verdicts and values of a reproduction's record, as pages read them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from kdrun.claims import OUTCOMES
from kdrun.report.records_read import StudyRecord

__all__ = ["number_in", "reported_text", "values_of", "verdicts_of"]


def verdicts_of(study: StudyRecord) -> list[Any]:
    """The verdicts of a record as the plots and templates read them; those of another form are left out."""
    found = []
    for one in study.result.get("verdicts") or ():
        try:
            plain = {n: str(one.get(n) or "") for n in ("name", "says", "kind", "test", "note")}
            numbers = {n: number_in(one["distance"][n]) for n in ("mean", "low", "high")}
            distance = SimpleNamespace(**numbers, half_width=(numbers["high"] - numbers["low"]) / 2)
            means = {str(k): number_in(v) for k, v in one["means"].items()}
            found.append(
                SimpleNamespace(
                    **plain,
                    outcome=one["outcome"] if one["outcome"] in OUTCOMES else "undecided",
                    distance=distance,
                    distances=[number_in(v) for v in one["distances"]],
                    means=means,
                    reported=one.get("reported") if isinstance(one.get("reported"), Mapping) else None,
                )
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            continue
    return found


def number_in(value: Any) -> float:
    """A number of a record; not one for what it leaves open. Raises ``TypeError`` or ``ValueError`` for other words."""
    return math.nan if value is None else float(value)


def values_of(results: Mapping[str, Mapping[int, Mapping[str, float]]], metric: str) -> dict[str, list[float]]:
    """By arm, the values of a metric in the order of seeds; without arms that did not measure it."""
    found = {arm: [runs[s][metric] for s in sorted(runs) if metric in runs[s]] for arm, runs in results.items()}
    return {arm: values for arm, values in found.items() if values}


def reported_text(told: Any) -> str:
    """What a claim says that the paper reports: ``kd 0.93, scratch 0.91 (MNIST)``, its setting last; empty where it says nothing."""
    if not isinstance(told, Mapping):
        return ""
    numbers = {k: x.get("value", "") if isinstance(x, Mapping) else x for k, x in told.items() if k != "setting"}
    shown = ", ".join(f"{k} {x}" for k, x in numbers.items())
    return f"{shown} ({told['setting']})" if "setting" in told else shown
