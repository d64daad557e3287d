"""``kdrun diff RUN RUN``: what differs between two runs, and what moved."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from kdrun.commands.arguments import Parser
from kdrun.commands.output import say
from kdrun.engine.comparison import Difference, compare
from kdrun.engine.run_folders import find_run
from kdrun.report.tables import number, text_table
from kdrun.runtime.progress import duration

__all__ = ["main"]

SAME = {
    "settings": "the same configuration",
    "code": "the same code",
    "data": "the same data",
    "versions": "the same versions",
    "metrics": "the same results",
}


def main(arguments: Sequence[str]) -> int:
    parser = Parser(
        prog="kdrun diff", description="What differs between two runs: settings, code, data, versions, results."
    )
    parser.add_argument("one", help="a run's folder, or the end of its name (kdrun runs lists them)")
    parser.add_argument("other", help="another one")
    parser.add_argument("--runs", type=os.path.expanduser, default="runs", help="the folder of records")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(list(arguments))
    one, other = find_run(options.one, options.runs), find_run(options.other, options.runs)
    found = compare(one, other)
    if options.json:
        told = {"one": str(one.folder), "other": str(other.folder), **dataclasses.asdict(found)}
        say(json.dumps(told, indent=2, sort_keys=True, default=str))
    else:
        say(_text(found, str(one.folder), str(other.folder)))
    return 0


def _text(found: Difference, one: str, other: str) -> str:
    pieces = [f"- {one}\n+ {other}"]
    silent = []
    for name in ("settings", "code", "data", "versions"):
        pairs: Mapping[str, Any] = getattr(found, name)
        rows = [[key, _shown(before), _shown(after)] for key, (before, after) in pairs.items()]
        if rows:
            pieces.append(text_table([name, "-", "+"], rows))
        else:
            silent.append(SAME[name])
    if found.metrics:
        pieces.append(text_table(["metrics", "-", "+", "moved", ""], _moved(found)))
    else:
        silent.append(SAME["metrics"])
    pieces.append(
        "\n".join([*silent, *_stages(found), *_time(found), *(f"not told: {path}" for path in found.unknown)])
    )
    return "\n\n".join(piece for piece in pieces if piece)


def _moved(found: Difference) -> list[list[str]]:
    rows = []
    for name, (before, after) in found.metrics.items():
        moved, told = "", ""
        if before is not None and after is not None:
            moved = number(after - before, "+")
            told = "better" if (after < before) == (name in found.lowest) else "worse"
        rows.append([name, _shown(before), _shown(after), moved, told])
    return rows


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    return number(value) if isinstance(value, float) else str(value) if len(str(value)) <= 60 else f"{str(value)[:57]}…"


def _stages(found: Difference) -> list[str]:
    told = {"same": "the same stages", "remade": "stages made of something else", "only": "stages of one alone"}
    return [f"{told[kind]}: {', '.join(names)}" for kind, names in found.stages.items() if names]


def _time(found: Difference) -> list[str]:
    """Of what was computed: what came from the store took none."""
    one, other = found.seconds
    return [f"computed in {duration(one)} and {duration(other)}"] if one or other else []
