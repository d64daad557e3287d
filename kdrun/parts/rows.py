"""Rows of data sets: chosen by score, class or at random, joined, and a column of them handed out."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from kdrun.data.dataset import Dataset, MemoryDataset
from kdrun.errors import InputError, nearest
from kdrun.registry import mix, reduce, select, shape_of
from kdrun.types import Count, Fraction, Positive, Unsigned

__all__ = [
    "column",
    "concatenate_rows",
    "excluding_classes",
    "excluding_rows",
    "first_rows",
    "joint_labels",
    "long_tail",
    "of_classes",
    "random_rows",
    "top_k",
]


@select
def top_k(
    scores: Tensor, data: Dataset, *, k: Count | None = None, share: Fraction | None = None, largest: bool = True
) -> Dataset:
    """The ``k`` rows (or a ``share`` of them) with the largest (or smallest) ``scores`` [rows], in the order of the data.

    Of equal scores the first rows are taken. Raises ``InputError`` if there are fewer rows than ``k`` or not one score a row.

    >>> pool = data.MemoryDataset({"label": torch.tensor([7, 8, 9])}, data.DataInfo({}))
    >>> parts.top_k(torch.tensor([0.5, 0.1, 0.9]), pool, k=2).column("label")
    tensor([7, 9])
    """
    if scores.shape != (len(data),):
        raise InputError(f"select by top_k takes one score a row: got {list(scores.shape)} for {len(data)} rows")
    if (k is None) == (share is None):
        raise InputError("select by top_k takes either k or share")
    k = k if k is not None else max(round(float(share or 0) * len(data)), 1)
    if k > len(data):
        raise InputError(f"cannot select {k} of {len(data)} rows")
    order = torch.argsort(scores, descending=largest, stable=True)
    return data.select(order[:k].sort().values)


@select
def of_classes(data: Dataset, *, classes: Count | list[Unsigned], renumber: bool = False) -> Dataset:
    """The rows of these classes, or of the first so many, in the order of the data. Raises ``InputError`` if there is none.

    With ``renumber`` these are all classes that there are: a label becomes its class's place in ``classes``. Reads ``label``
    [rows] (int64).

    >>> pool = data.MemoryDataset({"label": torch.tensor([0, 1, 2, 1])}, data.DataInfo({}))
    >>> parts.of_classes(pool, classes=[2, 1], renumber=True).column("label")
    tensor([1, 0, 1])
    """
    classes = list(range(classes)) if isinstance(classes, int) else classes
    labels = data.column("label")
    matches = labels[:, None] == torch.tensor(classes)
    chosen = matches.any(1).nonzero().squeeze(1)
    if len(chosen) == 0:
        raise InputError(f"no row is of the classes {classes}")
    kept = data.select(chosen)
    return kept.with_columns({"label": matches[chosen].int().argmax(1)}, classes=len(classes)) if renumber else kept


@shape_of("select", "of_classes")
def of_classes_shape(data: Dataset, *, classes: Count | list[Unsigned], renumber: bool = False) -> Dataset:
    """What a row is and how many classes there are; which rows are left is known only when it has run."""
    if not renumber:
        return of_classes(data, classes=classes)
    return data.with_columns({}, classes=classes if isinstance(classes, int) else len(classes))


@select
def first_rows(data: Dataset, *, k: Unsigned) -> Dataset:
    """The first ``k`` rows (all if there are fewer); with 0, an empty set to begin a collection with.

    >>> pool = data.MemoryDataset({"label": torch.tensor([7, 8, 9])}, data.DataInfo({}))
    >>> parts.first_rows(pool, k=2).column("label")
    tensor([7, 8])
    """
    return data.select(torch.arange(min(k, len(data))))


@select
def excluding_rows(data: Dataset, other: Dataset) -> Dataset:
    """The rows of ``data`` that are not in ``other``, another selection from the same split (by their numbers, ``index``).

    >>> pool = data.MemoryDataset({"label": torch.tensor([7, 8, 9])}, data.DataInfo({}))
    >>> parts.excluding_rows(pool, parts.first_rows(pool, k=1)).column("label")
    tensor([8, 9])
    """
    kept = ~torch.isin(data.column("index"), other.column("index"))
    return data.select(kept.nonzero().squeeze(1))


@select
def excluding_classes(data: Dataset, other: Dataset) -> Dataset:
    """The rows of ``data`` whose ``label`` no row of ``other`` has.

    >>> pool = data.MemoryDataset({"label": torch.tensor([0, 1, 2, 1])}, data.DataInfo({}))
    >>> parts.excluding_classes(pool, parts.of_classes(pool, classes=[1])).column("label")
    tensor([0, 2])
    """
    kept = ~torch.isin(data.column("label"), other.column("label"))
    return data.select(kept.nonzero().squeeze(1))


@select
def long_tail(data: Dataset, *, ratio: Positive, order: Unsigned = 0) -> Dataset:
    """An exponentially imbalanced subset (Cui et al., 2019): class of rank k keeps ``n · ratio^(-k/(classes - 1))`` rows.

    ``n`` is the size of the largest class and ``ratio`` that of the most to the least frequent one. ``order`` seeds
    which class has which rank: two data sets with one ``order`` have tails of the same classes. A class keeps its
    first rows, one at least. Reads ``label`` [rows] (int64).

    >>> pool = data.MemoryDataset({"label": torch.arange(300) % 3}, data.DataInfo({}, classes=3))
    >>> parts.class_counts(parts.long_tail(pool, ratio=100.0)).sort().values
    tensor([  1.,  10., 100.])
    """
    labels = data.column("label")
    classes = data.info.classes or int(labels.max()) + 1
    rank = torch.randperm(classes, generator=torch.Generator().manual_seed(order))
    largest = int(torch.bincount(labels, minlength=classes).max())
    kept = []
    for place, label in enumerate(rank.tolist()):
        count = max(round(largest * ratio ** (-place / max(classes - 1, 1))), 1)
        kept.append((labels == label).nonzero().squeeze(1)[:count])
    return data.select(torch.cat(kept).sort().values)


@select
def random_rows(
    data: Dataset, *, k: Count, balance: Literal["none", "label"] = "none", generator: torch.Generator
) -> Dataset:
    """``k`` rows drawn without replacement, in the order of the data.

    With ``balance: label``, as evenly over the values of ``label`` as they allow. Raises ``InputError`` if there are fewer rows
    than ``k``.

    >>> pool = data.MemoryDataset({"label": torch.tensor([0, 0, 0, 0, 1, 2])}, data.DataInfo({}))
    >>> parts.random_rows(pool, k=3, balance="label", generator=torch.Generator()).column("label")
    tensor([0, 1, 2])
    """
    if k > len(data):
        raise InputError(f"cannot select {k} of {len(data)} rows")
    order = torch.randperm(len(data), generator=generator)
    if balance == "label":
        labels = data.rows(order)["label"]
        rank = torch.zeros(len(data), dtype=torch.int64)
        for value in labels.unique():
            of_class = labels == value
            rank[of_class] = torch.arange(int(of_class.sum()))
        order = order[torch.argsort(rank, stable=True)]
    return data.select(order[:k].sort().values)


@mix
def concatenate_rows(*data: Dataset, source: str | None = None) -> Dataset:
    """The rows of several data sets with the same columns, one after the other, numbered anew; decoded into memory.

    ``source`` names a column that is added: the number of the data set from which each row comes (int64).
    Raises ``InputError`` if columns or their shapes differ.

    >>> info = data.DataInfo({"label": data.Column((), torch.int64)})
    >>> first, second = (data.MemoryDataset({"label": torch.tensor(labels)}, info) for labels in ([7, 8], [9]))
    >>> rows = parts.concatenate_rows(first, second, source="from").rows()
    >>> rows["label"], rows["from"]
    (tensor([7, 8, 9]), tensor([0, 0, 1]))
    """
    first, *others = [{n: c for n, c in d.info.columns.items() if n != "index"} for d in data]
    for other in others:
        if other != first:
            raise InputError(f"data sets with columns {sorted(first)} and {sorted(other)} do not join")
    rows = [d.rows() for d in data]
    columns = {name: torch.cat([r[name] for r in rows]) for name in first}
    joined = MemoryDataset(columns, replace(data[0].info, columns=first))
    joined.transforms = data[0].transforms
    if source is None:
        return joined
    numbers = torch.cat([torch.full((len(r["index"]),), i) for i, r in enumerate(rows)])
    return joined.with_columns({source: numbers})


@mix
def joint_labels(*data: Dataset) -> Dataset:
    """The rows of several classification sets, one after the other, with labels in one numbering: the classes of the first set, then others'.

    Columns beside ``label`` agree. ``first`` and ``count`` (int64) say of each row which classes its own set has: ``count`` of them, from
    ``first`` on. Raises ``InputError`` if columns or their shapes differ, or a set does not say how many classes it has.

    >>> info = data.DataInfo({"label": data.Column((), torch.int64)}, classes=3)
    >>> sets = [data.MemoryDataset({"label": torch.tensor(labels)}, info) for labels in ([0, 2], [1])]
    >>> {name: values.tolist() for name, values in parts.joint_labels(*sets).rows().items() if name != "index"}
    {'label': [0, 2, 4], 'first': [0, 0, 3], 'count': [3, 3, 3]}
    """
    if any(d.info.classes is None for d in data):
        raise InputError("a set whose labels are numbered on says how many classes it has")
    counts = [int(d.info.classes or 0) for d in data]
    joined = concatenate_rows(*data)
    first = torch.cat([torch.full((len(d),), sum(counts[:i])) for i, d in enumerate(data)])
    count = torch.cat([torch.full((len(d),), c) for d, c in zip(data, counts, strict=True)])
    columns = {"label": joined.column("label") + first, "first": first, "count": count}
    return joined.with_columns(columns, classes=sum(counts))


@reduce(scored=("data",))
def column(data: Dataset, *, name: str) -> Tensor:
    """A column of a data set as a tensor [rows, ...], to be handed to other stages.

    Raises ``InputError`` if there is no such column.

    >>> pool = data.MemoryDataset({"label": torch.tensor([7, 8])}, data.DataInfo({}))
    >>> parts.column(pool, name="label")
    tensor([7, 8])
    """
    rows = data.rows()
    if name not in rows:
        raise InputError(f"the data has no column '{name}'{nearest(name, rows)}; it has: {', '.join(rows)}")
    return rows[name]
