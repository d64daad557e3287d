"""What a score costs: over parameters, FLOPs and latency where runs were profiled, else over the parameters that answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kdrun.engine.query import is_lowest_best
from kdrun.report.exhibit_figures import Points, trade_plot
from kdrun.report.exhibits import Exhibit
from kdrun.report.records_read import StudyRecord
from kdrun.report.verdicts_read import values_of, verdicts_of

__all__ = ["trade_of"]


def trade_of(study: StudyRecord, shown: Mapping[str, Sequence[Exhibit]]) -> tuple[str, str]:
    """The score that is drawn over its costs, and the drawing; nothing where there is nothing to choose between.

    ``shown``: by arm, what its first run shows; times are those of its ``profile``, if there is one.
    """
    found = _profiled(study, shown) or _sized(study)
    if not found:
        return "", ""
    score, costs = found
    return score, trade_plot(score, costs, lowest=is_lowest_best(score, study.runs))


def _profiled(study: StudyRecord, shown: Mapping[str, Sequence[Exhibit]]) -> tuple[str, dict[str, Points]] | None:
    """A score and its values over each cost: a point for each arm's student, and one for a model that all arms share."""
    told = [
        (arm, model, found)
        for arm, exhibits in shown.items()
        for exhibit in exhibits
        if exhibit.kind == "profile"
        for model in exhibit.content["models"]
        if (found := {s: m[model["scored"]] for s, m in study.results[arm].items() if model["scored"] in m})
    ]
    if not told:
        return None
    names = {model["name"] for _, model, _ in told}
    shared = {name for name in names if _is_shared([(m, v) for _, m, v in told if m["name"] == name], len(shown))}
    alone = len(names) - len(shared) == 1
    costs: dict[str, dict[str, tuple[float, Sequence[float]]]] = {}
    for arm, model, values in sorted(
        told, key=lambda one: -len(one[2])
    ):  # of what is shared, the arm with most seeds tells
        label = model["name"] if model["name"] in shared else arm if alone else f"{arm}: {model['name']}"
        for cost, value in model["costs"].items():
            costs.setdefault(cost, {}).setdefault(label, (value, [values[s] for s in sorted(values)]))
    order = [*study.results, *costs[next(iter(costs))]]  # colours are those of the arms elsewhere
    costs = {
        cost: {name: points[name] for name in dict.fromkeys(order) if name in points} for cost, points in costs.items()
    }
    score = next((model["scored"] for _, model, _ in told if model["name"] not in shared), told[0][1]["scored"])
    return score, dict(costs)


def _is_shared(told: Sequence[tuple[Mapping[str, Any], Mapping[int, float]]], arms: int) -> bool:
    """Whether a model is the same one in several arms: as large, and as good at every seed."""
    scores: dict[int, set[float]] = {}
    for _, values in told:
        for seed, value in values.items():
            scores.setdefault(seed, set()).add(value)
    sizes = {model["costs"]["parameters"] for model, _ in told}
    return arms > 1 and len(sizes) == 1 and all(len(found) == 1 for found in scores.values())


def _sized(study: StudyRecord) -> tuple[str, dict[str, Points]] | None:
    """What the first claim speaks of over the size of what answers; None where all arms are of one size."""
    budgets = study.result.get("budgets")
    names = [name for v in verdicts_of(study) for name in v.means]
    if not isinstance(budgets, Mapping) or not names:
        return None
    arm = next((a for a in study.results if names[0].startswith(f"{a}.")), "")
    metric = names[0].removeprefix(f"{arm}.")
    told = {str(a): b.get("parameters") for a, b in budgets.items() if isinstance(b, Mapping)}
    sizes = {a: float(size) for a, size in told.items() if isinstance(size, int | float)}
    points = {a: (sizes[a], values) for a, values in values_of(study.results, metric).items() if a in sizes}
    if len({size for size, _ in points.values()}) < 2:
        return None
    return metric, {"parameters that answer": points}
