"""What the pages of runs show, as plain data for their templates."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from kdrun.engine.query import RecordedRun, is_lowest_best, metrics_of_runs
from kdrun.engine.records import read_if_sound
from kdrun.errors import concealed
from kdrun.report.exhibits import exhibits_of
from kdrun.report.figures import curves_plots
from kdrun.report.records_read import OF_THE_PLACE, OF_THE_WHOLE, mapping_in
from kdrun.report.tables import number

__all__ = ["around", "curve_plots", "run_page", "runs_page", "swept"]


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
    """What was chosen for each run and is not the same in all; seeds come last, and the method is left out where it follows from the arm."""
    settings = [_settings(run) for run in runs]
    said = {o.lstrip("+~").partition("=")[0] for run in runs for o in run.record["overrides"]}
    names = [n for n in dict.fromkeys(["arm", "method", "scale", *sorted(said)]) if n not in ("transfer", "seed")]
    found = [n for n in names if len({json.dumps(_plain(s.get(n)), default=str) for s in settings}) > 1]
    both = {(s.get("arm"), s.get("method")) for s in settings}
    if "arm" in found and "method" in found and len(both) == len({arm for arm, _ in both}):
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
        "curves": _own_curves(run) if alone else {},
        "exhibits": exhibits_of(run),
        "stages": [[str(n), f"{s:.1f}"] for n, s in spent if isinstance(s, int | float)],
        "settings": [[n, str(v)] for n, v in _settings(run).items()],
        "command": concealed(_again(run)),
        "environment": around(mapping_in(run.folder / "environment.json")),
    }


def _own_curves(run: RecordedRun) -> dict[str, str]:
    rows = read_if_sound(run.folder / "curves.json")
    found = curve_plots({"run": {"0": rows}}, ["linear"]) if isinstance(rows, list) else {}
    return {stage: drawn for stage, (drawn,) in found.items()}


def _again(run: RecordedRun) -> str:
    seed = run.record.get("seed")
    said = list(run.record["overrides"])
    more = [f"seed={seed}"] if isinstance(seed, int) and not any(o.startswith("seed=") for o in said) else []
    return f"kdrun run {shlex.join([str(run.record['recipe']), *said, *more])}"


def curve_plots(
    curves: Mapping[str, Any], scales: Sequence[Literal["linear", "log"]] = ("linear", "log")
) -> dict[str, list[str]]:
    """By stage, its curves on axes of each of ``scales``."""
    sound = {
        str(arm): {int(s): [r for r in rows if isinstance(r, Mapping) and "epoch" in r] for s, rows in runs.items()}
        for arm, runs in curves.items()
        if isinstance(runs, Mapping) and all(str(s).isdecimal() and isinstance(r, list) for s, r in runs.items())
    }
    stages = dict.fromkeys(str(r["stage"]) for runs in sound.values() for rows in runs.values() for r in rows)
    return {stage: curves_plots(stage, sound, scales=scales) for stage in stages}


def around(environment: Mapping[str, Any]) -> list[list[str]]:
    """What a run ran on, a line a row."""
    versions = environment.get("versions")
    git = environment.get("git")
    rows = [[n, str(environment[n])] for n in ("python", "platform", "processors") if n in environment]
    rows += [[str(n), str(v)] for n, v in versions.items()] if isinstance(versions, Mapping) else []
    if isinstance(git, Mapping):
        rows.append(["commit", f"{git.get('commit')}{' with changes' if git.get('changed') else ''}"])
    return rows
