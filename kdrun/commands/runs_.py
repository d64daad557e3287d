"""``kdrun runs [words] [--sort metric]``: what was run, with results."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kdrun.commands.arguments import Parser, count, write_output
from kdrun.commands.output import say
from kdrun.engine.query import RecordedRun, best_first, chosen_runs
from kdrun.errors import InputError
from kdrun.report.run_tables import FORMATS, arrow_text, as_csv, as_json_lines, as_parquet, as_text, queried

__all__ = ["main"]

SQL = """an SQL statement for DuckDB over the tables runs (a row a run), settings (folder, name, value), curves (folder, stage,
epoch, step, name, value) and stages (folder, stage, seconds)"""


def main(arguments: Sequence[str]) -> int:
    parser = Parser(prog="kdrun runs", description="Query the records of runs.")
    parser.add_argument(
        "words",
        nargs="*",
        help="only runs of which all of these hold: text in their recipe, overrides, state or folder, or a condition on a metric, a "
        "setting or what a record says: arm=kd, 'test.accuracy>0.9', optimizer.lr=0.05, 'state!=finished'",
    )
    parser.add_argument("--runs", type=os.path.expanduser, default="runs", help="the folder of records")
    parser.add_argument("--sort", metavar="METRIC", help="best first: highest, or lowest where less of it is better")
    parser.add_argument("--limit", type=count, metavar="N", help="only the first N")
    parser.add_argument("--format", choices=FORMATS, help="how they are shown (default: table)")
    parser.add_argument("--json", action="store_true", help="the same as --format json: a record a line, whole")
    parser.add_argument("--sql", metavar="STATEMENT", help=SQL)
    parser.add_argument("--output", metavar="FILE", help="write there instead of printing")
    options = parser.parse_intermixed_args(list(arguments))
    kind = options.format or ("json" if options.json else "table")
    if kind == "parquet" and not options.output:
        raise InputError("Parquet is written to a file: add --output FILE", key="--format")
    found = chosen_runs(options.runs, options.words)
    if options.sort and found:
        found = best_first(found, options.sort)
    found = found[: options.limit]
    if options.sql:
        _answer(found, options.sql, kind, options.output)
    elif kind == "parquet":
        as_parquet(found, Path(options.output).expanduser())
        say(options.output)
    else:
        _show(found, kind, options)
    return 0


def _show(found: Sequence[RecordedRun], kind: str, options: Any) -> None:
    if kind == "table" and not found:
        say("no runs match" if options.words else f"no runs under {options.runs}/ yet")
        return
    text = {"table": as_text, "csv": as_csv, "json": as_json_lines}[kind](found)
    _tell(text, options.output)


def _tell(text: str, output: str | None) -> None:
    if output:
        write_output(output, text if text.endswith("\n") or not text else f"{text}\n")
        say(output)
    elif text:
        say(text.removesuffix("\n"))


def _answer(found: Sequence[RecordedRun], statement: str, kind: str, output: str | None) -> None:
    """Print or write what an SQL statement gives."""
    import io
    import json

    table = queried(found, statement)
    if kind == "parquet":
        import pyarrow.parquet

        pyarrow.parquet.write_table(table, str(Path(str(output)).expanduser()))
        say(output)
    elif kind == "csv":
        import pyarrow.csv

        written = io.BytesIO()
        pyarrow.csv.write_csv(table, written)
        _tell(written.getvalue().decode(), output)
    elif kind == "json":
        _tell("\n".join(json.dumps(row, default=str) for row in table.to_pylist()), output)
    else:
        _tell(arrow_text(table), output)
