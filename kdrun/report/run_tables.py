"""Records of runs as tables: for a terminal, as CSV, Parquet or JSON, and under SQL."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdrun.engine.query import RecordedRun, metrics_of_runs
from kdrun.engine.records import read_if_sound
from kdrun.errors import InputError
from kdrun.report.tables import number, text_table

if TYPE_CHECKING:
    import pyarrow

__all__ = ["FORMATS", "arrow_text", "as_csv", "as_json_lines", "as_parquet", "as_text", "queried"]

FORMATS = ("table", "csv", "json", "parquet")

UNSAID = ("recipes=", "store=")
"""Overrides that say where something lies, and stand in no table."""


def as_text(runs: Sequence[RecordedRun]) -> str:
    """A row a run: its folder, seed, overrides, how it ended where any ended badly, and its metrics."""
    metrics = metrics_of_runs(runs)
    ended_badly = any(run.record["state"] != "finished" for run in runs)
    rows = []
    for run in runs:
        said = [o for o in run.record["overrides"] if not o.startswith(UNSAID)]
        values = [number(run.metrics[m]) if m in run.metrics else "" for m in metrics]
        state = [" ".join(filter(None, (run.record["state"], run.record.get("error"))))] if ended_badly else []
        rows.append([str(run.folder), str(run.record["seed"]), " ".join(said), *state, *values])
    return text_table(["run", "seed", "overrides", *(["state"] if ended_badly else []), *metrics], rows)


def as_json_lines(runs: Sequence[RecordedRun]) -> str:
    """Each record whole, a line a run."""
    return "\n".join(json.dumps({"folder": str(run.folder), **run.record}, sort_keys=True) for run in runs)


def as_csv(runs: Sequence[RecordedRun]) -> str:
    """A row a run: what its record says of it, then its metrics. What a spreadsheet would take for a formula is text."""
    rows = run_rows(runs)
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]) if rows else ["folder"], lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _harmless(value) for name, value in row.items()} for row in rows)
    return out.getvalue()


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def as_parquet(runs: Sequence[RecordedRun], path: Path) -> None:
    """The same rows as those of ``as_csv``. Raises ``InputError`` where the file cannot be written."""
    import pyarrow.parquet

    try:
        pyarrow.parquet.write_table(_table(run_rows(runs)), path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}", key="--output") from None


def queried(runs: Sequence[RecordedRun], statement: str) -> pyarrow.Table:
    """The answer of DuckDB to an SQL statement over four tables: ``runs``, ``settings``, ``curves`` and ``stages``.

    ``runs`` has a row a run; the others name it by ``folder``. The statement reads these tables and nothing else: no file, no
    network. Raises ``InputError`` for a statement that DuckDB refuses, or where the extra is missing.
    """
    try:
        import duckdb
    except ImportError:
        raise InputError("SQL over records needs an extra: pip install 'kdrun[sql]'", key="--sql") from None
    connection = duckdb.connect(config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"})
    try:
        for name, rows in {
            "runs": run_rows(runs),
            "settings": _settings(runs),
            "curves": _curves(runs),
            "stages": _stages(runs),
        }.items():
            connection.register(name, _table(rows, COLUMNS[name]))
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        found = connection.sql(statement)
        if found is None:
            raise InputError("expected a statement that gives rows, such as SELECT * FROM runs", key="--sql")
        return found.to_arrow_table()
    except duckdb.Error as error:
        raise InputError(f"DuckDB says: {str(error).strip().splitlines()[0]}", key="--sql") from None
    finally:
        connection.close()


COLUMNS = {
    "runs": ("folder", "recipe", "arm", "seed", "state"),
    "settings": ("folder", "name", "value"),
    "curves": ("folder", "stage", "epoch", "step", "name", "value"),
    "stages": ("folder", "stage", "seconds"),
}
"""Columns that a table has even where there is no row."""


def run_rows(runs: Sequence[RecordedRun]) -> list[dict[str, Any]]:
    """What each record says of its run, then a column a metric, None where it was not measured."""
    metrics = metrics_of_runs(runs)
    rows = []
    for run in runs:
        about = run.about()
        seed = about["seed"] if isinstance(about["seed"], int) else None
        row = {"folder": about.pop("folder"), **about, "seed": seed, "overrides": " ".join(run.record["overrides"])}
        rows.append({**row, **{metric: run.metrics.get(metric) for metric in metrics}})
    return rows


def _settings(runs: Sequence[RecordedRun]) -> list[dict[str, Any]]:
    return [
        {"folder": run.folder.as_posix(), "name": name, "value": value if isinstance(value, str) else json.dumps(value)}
        for run in runs
        for name, value in run.settings.items()
    ]


def _curves(runs: Sequence[RecordedRun]) -> list[dict[str, Any]]:
    """A row a number of a training log."""
    found = []
    for run in runs:
        for row in _logged(run.folder):
            place = {"stage": str(row.get("stage")), "epoch": _whole(row.get("epoch")), "step": _whole(row.get("step"))}
            values = {n: v for n, v in row.items() if n not in place and isinstance(v, int | float)}
            found += [
                {"folder": run.folder.as_posix(), **place, "name": n, "value": float(v)} for n, v in values.items()
            ]
    return found


def _logged(folder: Path) -> list[Mapping[str, Any]]:
    rows = read_if_sound(folder / "curves.json")
    return [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def _stages(runs: Sequence[RecordedRun]) -> list[dict[str, Any]]:
    found = []
    for run in runs:
        seconds = run.record.get("seconds")
        spent = seconds.items() if isinstance(seconds, Mapping) else ()
        found += [
            {"folder": run.folder.as_posix(), "stage": str(stage), "seconds": float(value)}
            for stage, value in spent
            if isinstance(value, int | float)
        ]
    return found


def _table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> pyarrow.Table:
    """Rows of one form; columns without a row are text."""
    import pyarrow

    if rows:
        return pyarrow.Table.from_pylist([dict(row) for row in rows])
    return pyarrow.table({name: pyarrow.array([], pyarrow.string()) for name in columns or ("folder",)})


def arrow_text(table: pyarrow.Table) -> str:
    """A table as columns of text."""
    rows = [[_shown(value) for value in row.values()] for row in table.to_pylist()]
    return text_table(table.column_names, rows)


def _shown(value: Any) -> str:
    return "" if value is None else number(value) if isinstance(value, float) else str(value)
