"""What each page of the site shows, as plain data for its template."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from kdrun.claims import OUTCOMES
from kdrun.config.writing import yaml_text
from kdrun.engine.query import RecordedRun
from kdrun.errors import concealed
from kdrun.report.exhibits import exhibits_of
from kdrun.report.figures import claims_plot, metric_plot, trade_plot
from kdrun.report.graph_data import drawings
from kdrun.report.records_read import StudyRecord, differences
from kdrun.report.site_runs import around, curve_plots
from kdrun.report.tables import arm_table, metrics_of, number
from kdrun.runtime.progress import duration

__all__ = ["index_row", "recipe_page"]


def verdicts_of(study: StudyRecord) -> list[Any]:
    """The verdicts of a record as the plots and templates read them; those of another form are left out."""
    found = []
    for one in study.result.get("verdicts") or ():
        try:
            plain = {n: str(one.get(n) or "") for n in ("name", "says", "kind", "test", "note")}
            numbers = {n: _number(one["distance"][n]) for n in ("mean", "low", "high")}
            distance = SimpleNamespace(**numbers, half_width=(numbers["high"] - numbers["low"]) / 2)
            means = {str(k): _number(v) for k, v in one["means"].items()}
            found.append(
                SimpleNamespace(
                    **plain,
                    outcome=one["outcome"] if one["outcome"] in OUTCOMES else "undecided",
                    distance=distance,
                    distances=[_number(v) for v in one["distances"]],
                    means=means,
                    reported=one.get("reported") if isinstance(one.get("reported"), Mapping) else None,
                )
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            continue
    return found


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def index_row(study: StudyRecord) -> dict[str, Any]:
    """A line of the index: verdicts by outcome, what the first main claim names beside what the paper reports, and what it cost."""
    verdicts = verdicts_of(study)
    main = [v for v in verdicts if v.kind == "main"]
    first = main[0] if main else None
    measured = ", ".join(f"{name} {mean:.4g}" for name, mean in first.means.items()) if first else ""
    reported = first.reported if first and first.reported else {}
    said = ", ".join(f"{k} {x['value'] if isinstance(x, Mapping) else x}" for k, x in reported.items())
    held = sum(v.outcome in ("reproduced", "equal") for v in verdicts)
    return {
        "family": study.family,
        "recipe": study.recipe if study.folder.name.count("-") <= 1 else f"{study.recipe} ({study.folder.name})",
        "title": study.paper.get("title", ""),
        "scale": study.result.get("scale", ""),
        "seeds": max((len(runs) for runs in study.results.values()), default=0),
        "main": ", ".join(v.outcome for v in main),
        "tone": main[0].outcome if len({v.outcome for v in main}) == 1 else "",
        "claims": f"{held} of {len(verdicts)} hold" if verdicts else "",
        "measured": measured,
        "reported": said,
        "seconds": study.seconds,
        "cost": " · ".join(filter(None, [duration(study.seconds) if study.seconds else "", _flops(study)])),
    }


def _flops(study: StudyRecord) -> str:
    """What all arms' training takes at one seed, in FLOPs."""
    budgets = study.result.get("budgets")
    found = [b.get("flops") for b in budgets.values() if isinstance(b, Mapping)] if isinstance(budgets, Mapping) else []
    known = [f for f in found if isinstance(f, int | float)]
    return f"{sum(known):.2g} FLOPs a seed" if known else ""


def recipe_page(study: StudyRecord, hrefs: Mapping[Path, str]) -> dict[str, Any]:
    """All that the page of a reproduction shows. ``hrefs``: where the pages of its runs are, by their folders."""
    verdicts, results = verdicts_of(study), study.results
    kinds = dict.fromkeys(v.kind for v in verdicts)
    graphs = drawings(study.graphs())
    stripped = {
        arm: [{**d, "nodes": [{k: v for k, v in n.items() if k != "is"} for n in d["nodes"]]} for d in found]
        for arm, found in graphs.items()
    }
    first = {arm: run for arm in results if (run := study.of_arm(arm)) is not None}
    metric, trade = _trade(study)
    return {
        "title": study.recipe,
        "s": study,
        "scale": study.result.get("scale", ""),
        "seeds": sorted({seed for runs in results.values() for seed in runs}),
        "warnings": [*_texts(study.result.get("unclaimed")), *_texts([study.result.get("late")])],
        "verdicts": verdicts,
        "forests": {kind: claims_plot([v for v in verdicts if v.kind == kind]) for kind in kinds},
        "agreements": _agreements(study),
        "arms": arm_table(results),
        "ranking": _pair(study.result.get("leaderboard")),
        "budgets": _pair(study.result.get("budget_table")),
        "pareto": trade,
        "pareto_metric": metric,
        "plots": {m: metric_plot(m, _values(results, m)) for m in metrics_of(results)},
        "curves": curve_plots(
            {arm: study.curves[arm] for arm in dict.fromkeys([*results, *study.curves]) if arm in study.curves}
        ),
        "exhibits": _exhibits(first, hrefs),
        "graphs": stripped,
        "apart": differences(first),
        "command": concealed(_command(study.environment)),
        "config": concealed(yaml_text(study.told_config())),
        "environment": around(study.environment),
    }


MOST_SHOWN = 400_000
"""Bytes of what runs give to be shown on the page of their reproduction; what is beyond stands on their own pages."""


def _exhibits(runs: Mapping[str, RecordedRun], hrefs: Mapping[Path, str]) -> list[dict[str, Any]]:
    """By arm, what its run gives to be shown as far as there is room, and where the rest is."""
    found, room = [], MOST_SHOWN
    for arm, run in runs.items():
        shown, every = [], exhibits_of(run)
        for one in every:
            if one.weight <= room:
                room -= one.weight
                shown.append(one)
        if every:
            found.append(
                {"name": arm, "seed": run.record.get("seed"), "shown": shown, "href": hrefs.get(run.folder, "")}
            )
    return found


def _texts(found: Any) -> list[str]:
    return [str(text) for text in found if text] if isinstance(found, list) else []


def _pair(found: Any) -> tuple[list[str], list[list[str]]] | None:
    """Header and rows, as a record keeps them."""
    try:
        header, rows = found
        return [str(h) for h in header], [[str(c) for c in row] for row in rows]
    except (TypeError, ValueError):
        return None


def _values(results: Mapping[str, Mapping[int, Mapping[str, float]]], metric: str) -> dict[str, list[float]]:
    found = {arm: [runs[s][metric] for s in sorted(runs) if metric in runs[s]] for arm, runs in results.items()}
    return {arm: values for arm, values in found.items() if values}


def _agreements(study: StudyRecord) -> tuple[list[str], list[list[str]]] | None:
    rows = [
        [
            str(one.get("metric", "")),
            number(_number(one.get("measured"))),
            number(_number(one.get("value"))),
            str(one.get("outcome", "")),
            str(one.get("table", "")),
        ]
        for one in study.result.get("reported") or ()
        if isinstance(one, Mapping)
    ]
    return (["metric", "measured", "reported", "", "where"], rows) if rows else None


def _trade(study: StudyRecord) -> tuple[str, str]:
    """The metric that is drawn over the size of what answers, and the drawing; nothing where all arms are of one size."""
    budgets = study.result.get("budgets")
    verdicts = verdicts_of(study)
    names = [name for v in verdicts for name in v.means]
    if not isinstance(budgets, Mapping) or not names:
        return "", ""
    arm = next((a for a in study.results if names[0].startswith(f"{a}.")), "")
    metric = names[0].removeprefix(f"{arm}.")
    told = {str(a): b.get("parameters") for a, b in budgets.items() if isinstance(b, Mapping)}
    sizes = {a: float(size) for a, size in told.items() if isinstance(size, int | float)}
    points = {a: (sizes[a], values) for a, values in _values(study.results, metric).items() if a in sizes}
    if len({size for size, _ in points.values()}) < 2:
        return metric, ""
    return metric, trade_plot(metric, "parameters that answer", points)


def _command(environment: Mapping[str, Any]) -> str:
    words = environment.get("command")
    return f"kdrun {shlex.join(str(w) for w in words[1:])}" if isinstance(words, list) and len(words) > 1 else ""
