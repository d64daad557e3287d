"""Parts of the ``select`` stage: rows of a data set, by score or at random."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from kdrun.data.dataset import Dataset
from kdrun.errors import InputError
from kdrun.registry import select
from kdrun.types import Count, Fraction

__all__ = ["random_rows", "top_k"]


@select
def top_k(
    scores: Tensor, data: Dataset, *, k: Count | None = None, share: Fraction | None = None, largest: bool = True
) -> Dataset:
    """The ``k`` rows (or a ``share`` of them) with the largest (or smallest) ``scores`` [rows], ties in row order.

    Raises ``InputError`` if there are fewer rows than ``k`` or not one score a row.
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
def random_rows(
    data: Dataset, *, k: Count, balance: Literal["none", "label"] = "none", generator: torch.Generator
) -> Dataset:
    """``k`` rows drawn without replacement; with ``balance: label``, as evenly over the labels as they allow."""
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
