"""Entries picked by their places, and classes as indices and as indicator rows."""

from __future__ import annotations

import torch
from torch import Tensor

from kdrun.ops.checks import require_same_batch
from kdrun.registry import op
from kdrun.types import Count, Unsigned

__all__ = [
    "at_position",
    "columns",
    "entry",
    "gather",
    "gather_pairs",
    "gather_source",
    "hard_label",
    "indicator",
    "one_hot",
]


def indicator(labels: Tensor, classes: int) -> Tensor:
    """Boolean rows [..., classes] of labels [...]; unlike ``F.one_hot`` it never waits for the device to read values."""
    return labels.unsqueeze(-1) == torch.arange(classes, device=labels.device)


@op
def gather(rows: Tensor, index: Tensor) -> Tensor:
    """Rows of a table [count, ...] at ``index`` (int64, any shape): [*index, ...].

    Raises ``IndexError`` for an index that is no row.

    >>> ops.gather(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([1, 1, 0]))
    tensor([[0., 1.],
            [0., 1.],
            [1., 0.]])
    """
    return rows[index]


@op
def gather_pairs(table: Tensor, index: Tensor) -> Tensor:
    """Entries of a table for all pairs of places: [n, n] of [count, count]; 0 where a place is negative.

    ``index`` [n] (int64).

    >>> ops.gather_pairs(torch.tensor([[1.0, 0.2], [0.2, 1.0]]), torch.tensor([0, 1, -1]))
    tensor([[1.0000, 0.2000, 0.0000],
            [0.2000, 1.0000, 0.0000],
            [0.0000, 0.0000, 0.0000]])
    """
    known = index >= 0
    rows = index.clamp_min(0)
    return torch.where(known[:, None] & known[None, :], table[rows][:, rows], 0.0)


@op
def gather_source(index: Tensor, *logits: Tensor) -> Tensor:
    """Each row from the predictor that ``index`` names: [batch, classes].

    ``index`` [batch] (int64) counts the predictors ``logits``, each [batch, classes], as ``confidence_partition`` does.

    >>> first, second = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[5.0, 6.0], [7.0, 8.0]])
    >>> ops.gather_source(torch.tensor([1, 0]), first, second)
    tensor([[5., 6.],
            [3., 4.]])
    """
    return torch.stack(logits)[index, torch.arange(len(index), device=index.device)]


@op
def columns(value: Tensor, *, index: list[Unsigned]) -> Tensor:
    """Entries of the last axis at ``index``, in its order: [..., len(index)].

    >>> ops.columns(torch.tensor([[1, 2, 3], [4, 5, 6]]), index=[2, 0])
    tensor([[3, 1],
            [6, 4]])
    """
    return value[..., index]


@op
def entry(value: Tensor, *, index: Unsigned) -> Tensor:
    """The entry of the first axis at ``index``: of losses [heads] a scalar.

    >>> ops.entry(torch.tensor([0.5, 0.25]), index=1)
    tensor(0.2500)
    """
    return value[index]


@op
def at_position(values: Tensor, position: Tensor) -> Tensor:
    """The entry of each row at its own position: [batch, length, ...] to [batch, ...].

    ``position`` [batch] (int64). Negative positions count from the end. Raises ``ValueError`` unless there is a
    position a row.

    >>> ops.at_position(torch.tensor([[1, 2, 3], [4, 5, 6]]), torch.tensor([2, 0]))
    tensor([3, 4])
    """
    require_same_batch(values, position, "values and positions")
    return values[torch.arange(len(values), device=values.device), position]


@op
def hard_label(logits: Tensor) -> Tensor:
    """Index of the largest entry of the last axis: [batch, classes] to [batch] (int64).

    >>> ops.hard_label(torch.tensor([[0.1, 2.0, 0.3], [5.0, 1.0, 4.0]]))
    tensor([1, 0])
    """
    return logits.argmax(-1)


@op
def one_hot(labels: Tensor, *, classes: Count) -> Tensor:
    """Labels [...] (int64) as indicator rows [..., classes] (float32); a label that is no class gives a row of zeros.

    >>> ops.one_hot(torch.tensor([0, 2]), classes=3)
    tensor([[1., 0., 0.],
            [0., 0., 1.]])
    """
    return indicator(labels, classes).float()
