"""Joining, cutting and reshaping of tensors; the values stay as they are."""

from __future__ import annotations

import torch
from torch import Tensor

from kdrun.registry import op
from kdrun.types import Count, Fraction

__all__ = ["concatenate", "flatten", "merge_rows", "reshape_rows", "split_rows", "stack", "unmerge_rows"]


@op
def concatenate(*values: Tensor, dim: int = 1) -> Tensor:
    """Tensors joined along an axis."""
    return torch.cat(values, dim=dim)


@op
def stack(*values: Tensor, dim: int = 0) -> Tensor:
    """Tensors of one shape stacked along a new axis: ``count`` of [batch, ...] as [count, batch, ...]."""
    return torch.stack(values, dim=dim)


@op
def split_rows(value: Tensor, *, share: Fraction = 0.5) -> dict[str, Tensor]:
    """The rows cut in two: ``first``, a ``share`` of them (at least one), and ``second``, the others."""
    count = min(max(round(share * len(value)), 1), len(value) - 1)
    return {"first": value[:count], "second": value[count:]}


@op
def flatten(value: Tensor) -> Tensor:
    """[batch, ...] as [batch, features]."""
    return value.flatten(1)


@op
def reshape_rows(value: Tensor, *, shape: list[Count]) -> Tensor:
    """[batch, ...] with each row in another shape: [batch, *shape]."""
    return value.reshape(len(value), *shape)


@op
def merge_rows(value: Tensor) -> Tensor:
    """Tokens [batch, count, ...] as rows [batch·count, ...]."""
    return value.flatten(0, 1)


@op
def unmerge_rows(values: Tensor, like: Tensor) -> Tensor:
    """Undo ``merge_rows``: rows [batch·count, ...] as [batch, count, ...], with the first two axes of ``like``."""
    return values.unflatten(0, like.shape[:2])
