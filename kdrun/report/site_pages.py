"""What each page of the site shows, as plain data for its template."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from kdrun.claims import OUTCOMES
from kdrun.config.writing import yaml_text
from kdrun.engine.query import RecordedRun, is_lowest_best, metrics_of_runs
from kdrun.engine.records import read_json
from kdrun.errors import concealed
from kdrun.report.confusion import confusions_of
from kdrun.report.figures import claims_plot, curves_plot, metric_plot, trade_plot
from kdrun.report.graph_data import drawings
from kdrun.report.records_read import OF_THE_PLACE, OF_THE_WHOLE, StudyRecord, differences
from kdrun.report.tables import arm_table, metrics_of, number
from kdrun.runtime.progress import duration

__all__ = ["index_row", "recipe_page", "run_page", "runs_page"]


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


def recipe_page(study: StudyRecord) -> dict[str, Any]:
    """All that the page of a reproduction shows."""
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
        "curves": _curves(study.curves),
        "confusions": {arm: found for arm, run in first.items() if (found := confusions_of(run))},
        "confusion_seeds": {arm: run.record.get("seed") for arm, run in first.items()},
        "graphs": stripped,
        "apart": differences(first),
        "command": concealed(_command(study.environment)),
        "config": concealed(yaml_text(study.told_config())),
        "environment": _around(study.environment),
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


def _curves(curves: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """By stage, its curves on a linear and on a logarithmic axis."""
    sound = {
        str(arm): {int(s): [r for r in rows if isinstance(r, Mapping) and "epoch" in r] for s, rows in runs.items()}
        for arm, runs in curves.items()
        if isinstance(runs, Mapping) and all(str(s).isdecimal() and isinstance(r, list) for s, r in runs.items())
    }
    stages = dict.fromkeys(str(r["stage"]) for runs in sound.values() for rows in runs.values() for r in rows)
    return {stage: (curves_plot(stage, sound), curves_plot(stage, sound, log=True)) for stage in stages}


def _command(environment: Mapping[str, Any]) -> str:
    words = environment.get("command")
    return f"kdrun {shlex.join(str(w) for w in words[1:])}" if isinstance(words, list) and len(words) > 1 else ""


def _around(environment: Mapping[str, Any]) -> list[list[str]]:
    versions = environment.get("versions")
    git = environment.get("git")
    rows = [[n, str(environment[n])] for n in ("python", "platform", "processors") if n in environment]
    rows += [[str(n), str(v)] for n, v in versions.items()] if isinstance(versions, Mapping) else []
    if isinstance(git, Mapping):
        rows.append(["commit", f"{git.get('commit')}{' with changes' if git.get('changed') else ''}"])
    return rows


def runs_page(recipe: str, runs: Sequence[RecordedRun], hrefs: Mapping[Path, str]) -> dict[str, Any]:
    """All that the page of a recipe's runs shows."""
    keys, metrics = swept(runs), metrics_of_runs(runs)
    objective = next((str(o["metric"]) for r in runs if (o := r.record.get("objective") or {}).get("metric")), "")
    test = [metric for metric in metrics if metric.startswith("test.")]
    rows = [
        {
            "name": run.folder.name
            if run.folder.parent.name.count("reproduce-") == 0
            else "/".join(run.folder.parts[-2:]),
            "href": hrefs[run.folder],
            "state": run.record["state"],
            "error": run.record.get("error") or "",
            "values": {**{k: _plain(_setting(run, k)) for k in keys}, **dict(run.metrics)},
            "metrics": dict(run.metrics),
            "settings": {k: _plain(v) for k, v in _settings(run).items()},
        }
        for run in runs
    ]
    lowest = [metric for metric in metrics if is_lowest_best(metric, runs)]
    first = objective if objective in metrics else next(iter([*test, *metrics]), "")
    sweep = {"runs": rows, "keys": keys, "metrics": metrics, "lowest": lowest, "first": first}
    bad = sum(run.record["state"] not in ("finished", "running") for run in runs)
    return {"title": f"Runs of {recipe}", "recipe": recipe, "sweep": sweep, "bad": bad}


def _settings(run: RecordedRun) -> dict[str, Any]:
    about = {n: run.record.get(n) for n in ("arm", "scale", "method", "seed") if run.record.get(n) is not None}
    left_out = (*OF_THE_WHOLE, *OF_THE_PLACE, "graph", "steps")
    return {**about, **{k: v for k, v in run.settings.items() if k.split(".")[0] not in left_out}}


def _setting(run: RecordedRun, key: str) -> Any:
    return _settings(run).get(key)


def swept(runs: Sequence[RecordedRun]) -> list[str]:
    """What was chosen for each run and is not the same in all; seeds come last, and what only follows from an arm or a method is left out."""
    settings = [_settings(run) for run in runs]
    said = {o.lstrip("+~").partition("=")[0] for run in runs for o in run.record["overrides"]}
    names = [n for n in dict.fromkeys(["arm", "method", "scale", *sorted(said)]) if n not in ("transfer", "seed")]
    found = [n for n in names if len({json.dumps(_plain(s.get(n)), default=str) for s in settings}) > 1]
    if {"arm", "method"} <= set(found):
        found.remove("method")
    return [*found, *(["seed"] if len({s.get("seed") for s in settings}) > 1 else [])]


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | float | str) or value is None else json.dumps(value, default=str)


def run_page(run: RecordedRun) -> dict[str, Any]:
    """All that the page of a run shows; curves of one that belongs to a reproduction stand on that one's page."""
    alone = not run.folder.parent.name.startswith("reproduce-")
    seconds = run.record.get("seconds")
    spent = seconds.items() if isinstance(seconds, Mapping) else ()
    return {
        "title": run.folder.name,
        "run": run,
        "metrics": [[name, number(value)] for name, value in sorted(run.metrics.items())],
        "curves": {stage: both[0] for stage, both in _own_curves(run).items()} if alone else {},
        "confusions": confusions_of(run),
        "stages": [[str(n), f"{s:.1f}"] for n, s in spent if isinstance(s, int | float)],
        "settings": [[n, str(v)] for n, v in _settings(run).items()],
        "command": concealed(_again(run)),
        "environment": _around(_json(run.folder / "environment.json")),
    }


def _own_curves(run: RecordedRun) -> dict[str, tuple[str, str]]:
    try:
        rows = read_json(run.folder / "curves.json")
    except (OSError, ValueError, RecursionError):
        return {}
    return _curves({"run": {"0": rows}}) if isinstance(rows, list) else {}


def _json(path: Path) -> Mapping[str, Any]:
    try:
        found = read_json(path)
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, Mapping) else {}


def _again(run: RecordedRun) -> str:
    seed = run.record.get("seed")
    said = list(run.record["overrides"])
    more = [f"seed={seed}"] if isinstance(seed, int) and not any(o.startswith("seed=") for o in said) else []
    return f"kdrun run {shlex.join([str(run.record['recipe']), *said, *more])}"
