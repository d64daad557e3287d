"""What each page of the site shows, as plain data for its template."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdrun.config.writing import yaml_text
from kdrun.errors import concealed
from kdrun.report.exhibits import exhibits_of, fitting
from kdrun.report.figures import claims_plot, metric_plot
from kdrun.report.graph_data import compact, drawings
from kdrun.report.records_read import StudyRecord, differences
from kdrun.report.site_runs import around, curve_plots
from kdrun.report.tables import arm_table, metrics_of, number
from kdrun.report.trades import trade_of
from kdrun.report.verdicts_read import number_in, reported_text, values_of, verdicts_of
from kdrun.runtime.progress import duration

__all__ = ["index_row", "recipe_page"]


def index_row(study: StudyRecord) -> dict[str, Any]:
    """A line of the index: verdicts by outcome, what the first main claim names beside what the paper reports, and what it cost."""
    verdicts = verdicts_of(study)
    main = [v for v in verdicts if v.kind == "main"]
    first = main[0] if main else None
    measured = ", ".join(f"{name} {mean:.4g}" for name, mean in first.means.items()) if first else ""
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
        "reported": reported_text(first.reported) if first else "",
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
    first = {arm: run for arm in results if (run := study.of_arm(arm)) is not None}
    shown = {arm: exhibits_of(run) for arm, run in first.items()}
    score, trade = trade_of(study, shown)
    return {
        "title": study.recipe,
        "s": study,
        "scale": study.result.get("scale", ""),
        "seeds": f"seeds {', '.join(map(str, sorted({seed for runs in results.values() for seed in runs})))}",
        "notes": _texts(study.config.get("notes")),
        "warnings": [*_texts(study.result.get("unclaimed")), *_texts([study.result.get("late")])],
        "verdicts": verdicts,
        "forests": {kind: claims_plot([v for v in verdicts if v.kind == kind]) for kind in kinds},
        "agreements": _agreements(study),
        "arms": arm_table(results),
        "arms_have_means": True,
        "ranking": _pair(study.result.get("leaderboard")),
        "budgets": _pair(study.result.get("budget_table")),
        "pareto": trade,
        "pareto_metric": score,
        "plots": {m: metric_plot(m, values_of(results, m)) for m in metrics_of(results)},
        "curves": curve_plots(
            {arm: study.curves[arm] for arm in dict.fromkeys([*results, *study.curves]) if arm in study.curves}
        ),
        "exhibits": fitting(shown, first, hrefs),
        "graphs": compact(drawings(study.graphs())),
        "apart": differences({arm: run.settings for arm, run in first.items()}),
        "command": concealed(_command(study.environment)),
        "config": concealed(yaml_text(study.told_config())),
        "environment": around(study.environment),
    }


def _texts(found: Any) -> list[str]:
    return [str(text) for text in found if text] if isinstance(found, list) else []


def _pair(found: Any) -> tuple[list[str], list[list[str]]] | None:
    """Header and rows, as a record keeps them."""
    try:
        header, rows = found
        return [str(h) for h in header], [[str(c) for c in row] for row in rows]
    except (TypeError, ValueError):
        return None


def _agreements(study: StudyRecord) -> tuple[list[str], list[list[str]]] | None:
    rows = [
        [
            str(one.get("metric", "")),
            number(number_in(one.get("measured"))),
            number(number_in(one.get("value"))),
            str(one.get("outcome", "")),
            str(one.get("table", "")),
        ]
        for one in study.result.get("reported") or ()
        if isinstance(one, Mapping)
    ]
    return (["metric", "measured", "reported", "", "where"], rows) if rows else None


def _command(environment: Mapping[str, Any]) -> str:
    words = environment.get("command")
    return f"kdrun {shlex.join(str(w) for w in words[1:])}" if isinstance(words, list) and len(words) > 1 else ""
