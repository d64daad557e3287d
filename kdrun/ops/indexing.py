"""Entries picked by their places, and classes as indices and as indicator rows."""

from __future__ import annotations

import torch
from torch import Tensor

from kdrun.ops.checks import require_same_batch
from kdrun.registry import op
from kdrun.types import Count, Unsigned

__all__ = ["at_position", "columns", "gather", "gather_pairs", "gather_source", "hard_label", "indicator", "one_hot"]


def indicator(labels: Tensor, classes: int) -> Tensor:
    """Boolean rows [..., classes] of labels [...]; unlike ``F.one_hot`` it never waits for the device to read values."""
    return labels.unsqueeze(-1) == torch.arange(classes, device=labels.device)


@op
def gather(rows: Tensor, index: Tensor) -> Tensor:
    """Rows of a matrix [count, ...] at ``index`` (int64, any shape): [*index, ...]."""
    return rows[index]


@op
def gather_pairs(table: Tensor, index: Tensor) -> Tensor:
    """Entries of a table [count, count] for all pairs of ``index`` [n] (int64): [n, n]; 0 where an index is negative."""
    known = index >= 0
    rows = index.clamp_min(0)
    return torch.where(known[:, None] & known[None, :], table[rows][:, rows], 0.0)


@op
def gather_source(index: Tensor, *logits: Tensor) -> Tensor:
    """Each sample's row of the predictor that ``index`` [batch] (int64) names: [batch, classes] of several of that shape."""
    return torch.stack(logits)[index, torch.arange(len(index), device=index.device)]


@op
def columns(value: Tensor, *, index: list[Unsigned]) -> Tensor:
    """Entries of the last axis at ``index``: [..., len(index)]."""
    return value[..., index]


@op
def at_position(values: Tensor, position: Tensor) -> Tensor:
    """The entry of each row at its own position: [batch, ...] of [batch, length, ...] and ``position`` [batch] (int64)."""
    require_same_batch(values, position, "values and positions")
    return values[torch.arange(len(values), device=values.device), position]


@op
def hard_label(logits: Tensor) -> Tensor:
    """Index of the largest entry of the last axis: [batch, classes] to [batch] (int64)."""
    return logits.argmax(-1)


@op
def one_hot(labels: Tensor, *, classes: Count) -> Tensor:
    """Labels [batch] (int64) as indicator rows [batch, classes], float32."""
    return indicator(labels, classes).float()
