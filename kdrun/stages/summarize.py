"""The ``summarize`` stage: statistics over the rows of several tables."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from typing import Any

from kdrun.errors import InputError, nearest
from kdrun.registry import stage
from kdrun.runtime.artifacts import Artifact, Table
from kdrun.runtime.context import Context
from kdrun.types import Unsigned

__all__ = ["summarize"]

STATISTICS: dict[str, Callable[[list[float]], float]] = {
    "mean": statistics.fmean,
    "sum": math.fsum,
    "median": statistics.median,
    "min": min,
    "max": max,
    "last": lambda values: values[-1],
    "share_positive": lambda values: sum(v > 0 for v in values) / len(values),
}


@stage(value="table", random=False)
def summarize(
    tables: list[Any], *, columns: dict[str, list[str]], rows: list[Unsigned] | None = None, context: Context
) -> dict[str, Artifact]:
    """One row with statistics of columns over the joined rows of ``tables``, named ``column.statistic``.

    ``columns`` maps names to statistics (mean, sum, median, min, max, last, share_positive); ``rows`` keeps only those numbers.
    NaN is left out. Raises ``InputError`` for an unknown column or statistic.
    """
    joined = [row for table in tables for row in (table if isinstance(table, list) else [table])]
    chosen = joined if rows is None else [joined[i] for i in rows if i < len(joined)]
    result: dict[str, float] = {}
    for column, wanted in columns.items():
        missing = [row for row in chosen if column not in row]
        if missing or not chosen:
            known = sorted({name for row in joined for name in row})
            raise InputError(f"the tables have no column '{column}'{nearest(column, known)}", key=context.config_key)
        values = [float(row[column]) for row in chosen if not math.isnan(float(row[column]))]
        for name in wanted:
            if name not in STATISTICS:
                raise InputError(
                    f"no statistic '{name}'{nearest(name, STATISTICS)}", key=f"{context.config_key}.columns"
                )
            result[f"{column}.{name}"] = float(STATISTICS[name](values)) if values else math.nan
    return {"": Table([result])}
