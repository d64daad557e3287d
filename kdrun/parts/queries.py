"""Rows of a pool whose labels are asked for, a few at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from kdrun.data.dataset import Dataset
from kdrun.errors import InputError
from kdrun.registry import reduce, select, shape_of
from kdrun.types import Count, Fraction

__all__ = ["adding_k_centers", "adding_top_k", "rows_outside"]


@reduce
def rows_outside(data: Dataset, other: Dataset) -> Tensor:
    """Which rows of ``data`` are not in ``other``, a selection from the same split (by their numbers, ``index``): [rows] (bool).

    >>> pool = data.MemoryDataset({"label": torch.tensor([7, 8, 9])}, data.DataInfo({}))
    >>> parts.rows_outside(pool, parts.first_rows(pool, k=1))
    tensor([False,  True,  True])
    """
    return ~torch.isin(data.column("index"), other.column("index"))


@shape_of("reduce", "rows_outside")
def rows_outside_shape(data: Dataset, other: Dataset) -> Tensor:
    """One answer a row, whichever rows ``other`` has."""
    return torch.ones(len(data), dtype=torch.bool)


@select
def adding_top_k(
    scores: Tensor,
    data: Dataset,
    chosen: Dataset,
    *,
    k: Count | None = None,
    share: Fraction | None = None,
    rounds: Count | None = None,
    largest: bool = True,
) -> Dataset:
    """The rows ``chosen`` from ``data`` before, and the ``k`` others (or a ``share`` of all rows) with the largest ``scores`` [rows].

    In the order of the data; of equal scores the first rows are taken. With ``share`` and ``rounds`` the last round takes what is left
    of ``share · rounds``, rounded once. Raises ``InputError`` if there are not so many others.

    >>> pool = data.MemoryDataset({"label": torch.tensor([6, 7, 8, 9])}, data.DataInfo({}))
    >>> first = parts.first_rows(pool, k=1)
    >>> parts.adding_top_k(torch.tensor([0.9, 0.1, 0.5, 0.2]), pool, first, k=2).column("label")
    tensor([6, 8, 9])
    """
    if scores.shape != (len(data),):
        raise InputError(f"select by adding_top_k takes one score a row: got {list(scores.shape)} for {len(data)} rows")
    free = rows_outside(data, chosen)
    count = _due(data, chosen, k, share, rounds, "adding_top_k")
    order = torch.argsort(scores, descending=largest, stable=True)
    added = order[free[order]][:count]
    return data.select(torch.cat([(~free).nonzero().squeeze(1), added]).sort().values)


@select
def adding_k_centers(
    features: Tensor,
    data: Dataset,
    chosen: Dataset,
    *,
    k: Count | None = None,
    share: Fraction | None = None,
    rounds: Count | None = None,
) -> Dataset:
    """The rows ``chosen`` from ``data`` before, and others one by one, each the farthest from all so far (Sener & Savarese, 2018).

    ``features`` [rows, ...] are compared by Euclidean distance; where nothing is chosen, the first is the row nearest to their mean.
    ``k``, ``share`` and ``rounds`` as in ``adding_top_k``. Raises ``InputError`` if there are not so many others.

    >>> pool = data.MemoryDataset({"label": torch.tensor([6, 7, 8, 9])}, data.DataInfo({}))
    >>> features = torch.tensor([[0.0], [1.0], [5.0], [3.5]])
    >>> parts.adding_k_centers(features, pool, parts.first_rows(pool, k=1), k=2).column("label")
    tensor([6, 8, 9])
    """
    if len(features) != len(data):
        raise InputError(f"select by adding_k_centers takes features a row: got {len(features)} for {len(data)} rows")
    count = _due(data, chosen, k, share, rounds, "adding_k_centers")
    places = features.flatten(1).double()
    taken = ~rows_outside(data, chosen)
    nearest = torch.full((len(data),), torch.inf, dtype=torch.float64)
    for row in taken.nonzero().flatten().tolist():
        nearest = torch.minimum(nearest, _distance(places, row))
    for _ in range(count):
        start = not taken.any()
        score = -torch.linalg.vector_norm(places - places.mean(0), dim=1) if start else nearest
        row = int(score.masked_fill(taken, -torch.inf).argmax())
        taken[row] = True
        nearest = torch.minimum(nearest, _distance(places, row))
    return data.select(taken.nonzero().flatten())


@shape_of("select", "adding_top_k")
def top_k_shape(scores: Tensor, data: Dataset, chosen: Dataset, **options: object) -> Dataset:
    """What a row is; how many there are in all is known only when it has run."""
    return data


@shape_of("select", "adding_k_centers")
def k_centers_shape(features: Tensor, data: Dataset, chosen: Dataset, **options: object) -> Dataset:
    """Likewise."""
    return data


def _distance(places: Tensor, row: int) -> Tensor:
    return torch.linalg.vector_norm(places - places[row], dim=1)


def _due(data: Dataset, chosen: Dataset, k: int | None, share: float | None, rounds: int | None, name: str) -> int:
    """How many rows this round adds."""
    if (k is None) == (share is None):
        raise InputError(f"select by {name} takes either k or share")
    count = k if k is not None else max(round(float(share or 0) * len(data)), 1)
    if share is not None and rounds is not None and len(chosen) // count == rounds - 1:
        count = round(share * rounds * len(data)) - len(chosen)
    if count > len(data) - len(chosen):
        raise InputError(f"cannot add {count} rows to {len(chosen)} of {len(data)}")
    return count
