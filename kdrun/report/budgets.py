"""What each arm was given, beside what the method's arm was given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from kdrun.claims import compared_arm
from kdrun.engine.budgets import Budget

__all__ = ["budget_table", "figure", "mean_budget", "unequal"]

WORDS = {
    "rows": "rows",
    "steps": "steps",
    "epochs": "epochs",
    "flops": "FLOPs",
    "parameters": "parameters",
    "asked": "teacher rows",
}
"""The columns, by the name of the figure."""

COMPARED = ("rows", "steps", "flops", "parameters", "asked")

EQUAL = 0.05
"""Relative difference up to which two figures count as the same."""


def mean_budget(budgets: Sequence[Budget]) -> Budget | None:
    """The mean over seeds of each figure; None of one that is not known at each, and where there is no budget."""
    if not budgets:
        return None
    found: dict[str, Any] = {}
    for name in WORDS:
        values = [getattr(budget, name) for budget in budgets]
        found[name] = None if None in values else fmean(values)
    return Budget(**found)


def budget_table(
    budgets: Mapping[str, Budget], claims: Mapping[str, Any], against: str | None = None
) -> tuple[list[str], list[list[str]]] | None:
    """Header and rows, a row an arm, with what it has more or less of than the arm of the first main claim; None without budgets.

    ``against``: the arm to compare with where nothing is claimed; else the first one.
    """
    if not budgets:
        return None
    method = compared_arm(claims) or against or ""
    method = method if method in budgets else next(iter(budgets))
    rows = [
        [
            arm,
            *(figure(getattr(budget, name)) for name in WORDS),
            "" if arm == method else unequal(budget, budgets[method]),
        ]
        for arm, budget in budgets.items()
    ]
    return ["arm", *WORDS.values(), f"other than {method}"], rows


def unequal(budget: Budget, method: Budget) -> str:
    """``rows 2.0×, steps 2.0×``: the figures that differ, as multiples of the method's; where that is 0, as they are."""
    found = []
    for name in COMPARED:
        own, other = getattr(budget, name), getattr(method, name)
        if own is None or other is None or abs(own - other) <= EQUAL * max(own, other):
            continue
        ratio = own / other if other else None
        found.append(f"{WORDS[name]} {figure(own) if ratio is None else _multiple(ratio)}")
    return ", ".join(found)


def _multiple(ratio: float) -> str:
    return f"{ratio:.2g}×" if ratio < 0.1 else f"{ratio:.1f}×" if abs(ratio - 1) > 0.5 else f"{ratio:.2f}×"


def figure(value: float | None) -> str:
    """Three digits and a prefix (12.3k), whole numbers below ten thousand as they are; empty for what is not known."""
    if value is None:
        return ""
    if value < 10_000:
        return f"{value:.0f}" if float(value).is_integer() else f"{value:.1f}"
    scaled = [(value / 1000**i, prefix) for i, prefix in enumerate("kMGTP", start=1)]
    shown, prefix = next((one for one in scaled if one[0] < 999.5), scaled[-1])
    return f"{shown:.3g}{prefix}"
