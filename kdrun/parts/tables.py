"""Columns of tables: read, set side by side, and correlated with facts of the data."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from kdrun.data.dataset import Dataset
from kdrun.errors import InputError, nearest
from kdrun.registry import reduce

__all__ = ["column_of", "pivot_scores", "table_column", "transfer_correlates"]


def column_of(tables: list[Any], name: str) -> Tensor:
    """A column of one table's rows, or of several tables' joined rows: [rows] (float64).

    Raises ``InputError`` for a column that a row has not.
    """
    rows = [row for table in tables for row in (table if isinstance(table, list) else [table])]
    missing = next((row for row in rows if name not in row), None)
    if missing is not None:
        raise InputError(f"the tables have no column '{name}'{nearest(name, missing)}; there are: {', '.join(missing)}")
    return torch.tensor([float(row[name]) for row in rows], dtype=torch.float64)


@reduce(scored=("tables",))
def table_column(tables: list[list[dict[str, Any]]], *, column: str) -> Tensor:
    """One column of the rows of several tables, one after the other: [rows] (float32).

    Raises ``InputError`` for a column that a row has not.

    >>> parts.table_column([[{"accuracy": 0.5}, {"accuracy": 0.75}], [{"accuracy": 1.0}]], column="accuracy")
    tensor([0.5000, 0.7500, 1.0000])
    """
    return column_of(tables, column).float()


@reduce(scored=("tables",))
def pivot_scores(tables: list[list[dict[str, Any]]], *, column: str) -> list[dict[str, Any]]:
    """One ``column`` of several tables as a matrix: a row a table (a target), a column a row of them (a source), by number.

    Raises ``InputError`` if a table has no such column or the tables differ in length.

    >>> parts.pivot_scores([[{"accuracy": 0.5}, {"accuracy": 0.75}]], column="accuracy")
    [{'0': 0.5, '1': 0.75}]
    """
    return [{str(i): value for i, value in enumerate(row)} for row in _pivoted(tables, column)]


@reduce(scored=("tables", "data"))
def transfer_correlates(
    tables: list[list[dict[str, Any]]], data: list[Dataset], *, column: str, event: str = "event", features: str = "bag"
) -> list[dict[str, Any]]:
    """Spearman's rank correlations, over pairs of different domains, of the transferred score with what may explain it.

    ``tables`` as for ``pivot_scores``, a row for each domain's model; ``data`` the domains' training sets in this order, with
    ``event`` [rows] and ``features`` [rows, ..., dim], rows of zeros being padding. The one row has, from -1 to 1, ``size`` (rows
    of the source), ``event_rate`` (of the source), ``self_score`` (of the source on its own domain) and ``distance`` (between
    the mean features of both). One that does not vary is left out. Raises ``InputError`` unless there are as many data sets as
    tables and rows in each.

    >>> pools = [
    ...     data.MemoryDataset({"event": torch.zeros(rows), "bag": torch.ones(rows, 1)}, data.DataInfo({}))
    ...     for rows in (1, 2, 3)
    ... ]
    >>> tables = [[{"index": 0.1 * source + 0.01 * target} for source in range(3)] for target in range(3)]
    >>> parts.transfer_correlates(tables, pools, column="index")
    [{'size': 0.9561828874675149, 'self_score': 0.9561828874675149}]
    """
    scores = torch.tensor(_pivoted(tables, column), dtype=torch.float64)
    if scores.shape != (len(data), len(data)):
        raise InputError(f"a matrix {list(scores.shape)} of scores does not fit {len(data)} data sets")
    facts = [_facts(d, event, features) for d in data]
    centres = torch.stack([centre for centre, _ in facts])
    source = {
        "size": torch.tensor([float(len(d)) for d in data], dtype=torch.float64),
        "event_rate": torch.tensor([rate for _, rate in facts], dtype=torch.float64),
        "self_score": scores.diagonal(),
    }
    grids = {name: values.expand_as(scores) for name, values in source.items()}
    grids["distance"] = torch.cdist(centres, centres)
    apart = ~torch.eye(len(data), dtype=torch.bool)
    found = {name: _rank_correlation(scores[apart], grid[apart]) for name, grid in grids.items()}
    return [{name: value for name, value in found.items() if not math.isnan(value)}]


def _pivoted(tables: list[list[dict[str, Any]]], column: str) -> list[list[float]]:
    if len({len(table) for table in tables}) != 1:
        raise InputError(f"the tables have different numbers of rows: {[len(table) for table in tables]}")
    missing = [row for table in tables for row in table if column not in row]
    if missing:
        raise InputError(f"the tables have no column '{column}'{nearest(column, missing[0])}")
    return [[float(row[column]) for row in table] for table in tables]


def _facts(data: Dataset, event: str, features: str) -> tuple[Tensor, float]:
    """The mean of ``features`` over rows and instances, without rows of zeros (padding), and the share of events."""
    sums, events, count = [], 0.0, 0
    for batch in data.batches(64):  # once through: the rows of files may not fit into memory
        values = batch[features].flatten(0, -2).double()
        real = values.ne(0).any(1)
        sums.append(values.sum(0))
        count += int(real.sum())
        events += float(batch[event].sum())
    return torch.stack(sums).sum(0) / max(count, 1), events / len(data)


def _rank_correlation(first: Tensor, second: Tensor) -> float:
    from scipy.stats import rankdata

    ranks = torch.stack([torch.from_numpy(rankdata(values.numpy())) for values in (first, second)])
    centred = ranks - ranks.mean(1, keepdim=True)
    spread = centred.square().sum(1).prod().sqrt()
    return (centred[0] @ centred[1] / spread).item() if spread > 0 else math.nan
