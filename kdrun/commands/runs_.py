"""``kdrun runs [words] [--sort metric]``: what was run, with results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kdrun.commands.arguments import Parser
from kdrun.report.tables import text_table

__all__ = ["load_runs", "main"]


def load_runs(root: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Every run's folder and its ``result.json``, oldest first."""
    return [(p.parent, json.loads(p.read_text())) for p in sorted(root.glob("*/*/result.json"))]


def main(arguments: Sequence[str]) -> int:
    parser = Parser(prog="kdrun runs", description="Query the records of runs.")
    parser.add_argument(
        "words", nargs="*", help="only runs whose recipe, overrides or folder contain all of these words"
    )
    parser.add_argument("--runs", default="runs", help="the folder of records")
    parser.add_argument("--sort", help="sort by this metric, best (highest) first")
    parser.add_argument("--json", action="store_true", help="print the records as JSON lines")
    options = parser.parse_intermixed_args(list(arguments))
    found = []
    for folder, record in load_runs(Path(options.runs)):
        text = " ".join([str(folder), record["recipe"], *record["overrides"]])
        if all(word in text for word in options.words):
            found.append((folder, record))
    if options.sort:
        found.sort(key=lambda item: -item[1]["metrics"].get(options.sort, float("-inf")))
    if options.json:
        for folder, record in found:
            print(json.dumps({"folder": str(folder), **record}, sort_keys=True))
        return 0
    if not found:
        print("no runs match" if options.words else f"no runs under {options.runs}/ yet")
        return 0
    metrics = sorted({m for _, r in found for m in r["metrics"]})
    rows = [
        [str(folder), str(r["seed"]), " ".join(o for o in r["overrides"] if not o.startswith(("recipes=", "store=")))]
        + [f"{r['metrics'][m]:.4f}" if m in r["metrics"] else "" for m in metrics]
        for folder, r in found
    ]
    print(text_table(["run", "seed", "overrides", *metrics], rows))
    return 0
