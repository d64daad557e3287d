"""``kdrun runs [words] [--sort metric]``: what was run, with results."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kdrun.commands.arguments import Parser
from kdrun.engine.records import recorded_runs
from kdrun.grammar.measurements import look_up
from kdrun.report.tables import number, text_table

__all__ = ["main"]

Found = list[tuple[Path, dict[str, Any]]]


def main(arguments: Sequence[str]) -> int:
    parser = Parser(prog="kdrun runs", description="Query the records of runs.")
    parser.add_argument(
        "words", nargs="*", help="only runs whose recipe, overrides, state or folder contain all of these words"
    )
    parser.add_argument("--runs", type=os.path.expanduser, default="runs", help="the folder of records")
    parser.add_argument(
        "--sort", help="sort by this metric, best first: highest, or lowest where it is an objective to minimize"
    )
    parser.add_argument("--json", action="store_true", help="print the records as JSON lines")
    options = parser.parse_intermixed_args(list(arguments))
    found = [
        (folder, record)
        for folder, record in recorded_runs(options.runs)
        if all(
            word in " ".join([str(folder), str(record["recipe"]), record["state"], *record["overrides"]])
            for word in options.words
        )
    ]
    if options.sort and found:
        found = _sorted(found, options.sort)
    if options.json:
        for folder, record in found:
            print(json.dumps({"folder": str(folder), **record}, sort_keys=True))
    elif not found:
        print("no runs match" if options.words else f"no runs under {options.runs}/ yet")
    else:
        print(_table(found))
    return 0


def _sorted(found: Found, metric: str) -> Found:
    """Best first; runs that did not measure it come last. Raises ``InputError`` if none did."""
    look_up(metric, _metrics(found), what="no run measured")
    objectives = [record.get("objective") or {} for _, record in found]
    lowest = any(o.get("metric") == metric and o.get("goal") == "minimize" for o in objectives)
    sign = 1 if lowest else -1
    return sorted(found, key=lambda run: sign * run[1]["metrics"][metric] if metric in run[1]["metrics"] else math.inf)


def _metrics(found: Found) -> list[str]:
    return sorted({metric for _, record in found for metric in record["metrics"]})


def _table(found: Found) -> str:
    metrics = _metrics(found)
    ended_badly = any(record["state"] != "finished" for _, record in found)
    rows = []
    for folder, record in found:
        said = [o for o in record["overrides"] if not o.startswith(("recipes=", "store="))]
        values = [number(record["metrics"][m]) if m in record["metrics"] else "" for m in metrics]
        state = [" ".join(filter(None, (record["state"], record.get("error"))))] if ended_badly else []
        rows.append([str(folder), str(record["seed"]), " ".join(said), *state, *values])
    return text_table(["run", "seed", "overrides", *(["state"] if ended_badly else []), *metrics], rows)
