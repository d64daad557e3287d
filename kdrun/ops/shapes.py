"""Joining, cutting and reshaping of tensors; the values stay as they are."""

from __future__ import annotations

import torch
from torch import Tensor

from kdrun.registry import op
from kdrun.types import Count, Fraction

__all__ = [
    "concatenate",
    "flatten",
    "merge_rows",
    "reshape_rows",
    "rows_after",
    "split_rows",
    "stack",
    "unmerge_rows",
]


@op
def concatenate(*values: Tensor, dim: int = 1) -> Tensor:
    """Tensors joined along an axis; all other axes must agree.

    By default columns are joined: [batch, a] and [batch, b] to [batch, a + b].

    >>> ops.concatenate(torch.tensor([[1, 2], [3, 4]]), torch.tensor([[5], [6]]))
    tensor([[1, 2, 5],
            [3, 4, 6]])
    """
    return torch.cat(values, dim=dim)


@op
def stack(*values: Tensor, dim: int = 0) -> Tensor:
    """Tensors of one shape stacked along a new axis: ``count`` of [batch, ...] as [count, batch, ...].

    >>> ops.stack(torch.tensor([1, 2, 3]), torch.tensor([4, 5, 6]))
    tensor([[1, 2, 3],
            [4, 5, 6]])
    """
    return torch.stack(values, dim=dim)


@op
def split_rows(value: Tensor, *, share: Fraction = 0.5) -> dict[str, Tensor]:
    """The rows [batch, ...] cut in two: ``first``, a ``share`` of them, and ``second``, the others.

    The cut is at ``round(share · batch)``, but neither part is empty where there are two rows or more.

    >>> ops.split_rows(torch.tensor([1, 2, 3, 4]), share=0.75)
    {'first': tensor([1, 2, 3]), 'second': tensor([4])}
    """
    count = min(max(round(share * len(value)), 1), len(value) - 1)
    return {"first": value[:count], "second": value[count:]}


@op
def rows_after(value: Tensor, first: Tensor) -> Tensor:
    """The rows of ``value`` [a + b, ...] behind as many as ``first`` [a, ...] has: [b, ...], as they were joined.

    >>> ops.rows_after(torch.tensor([1, 2, 3, 4, 5]), torch.tensor([7, 7]))
    tensor([3, 4, 5])
    """
    return value[len(first) :]


@op
def flatten(value: Tensor) -> Tensor:
    """All axes but the first as one: [batch, ...] as [batch, features].

    >>> ops.flatten(torch.zeros(2, 3, 4)).shape
    torch.Size([2, 12])
    """
    return value.flatten(1)


@op
def reshape_rows(value: Tensor, *, shape: list[Count]) -> Tensor:
    """Each row in another shape of as many elements: [batch, ...] as [batch, *shape].

    >>> ops.reshape_rows(torch.tensor([[1, 2, 3, 4]]), shape=[2, 2]).tolist()
    [[[1, 2], [3, 4]]]
    """
    return value.reshape(len(value), *shape)


@op
def merge_rows(value: Tensor) -> Tensor:
    """The first two axes as one: tokens [batch, count, ...] as rows [batch·count, ...].

    >>> ops.merge_rows(torch.tensor([[[1, 2], [3, 4]], [[5, 6], [7, 8]]]))
    tensor([[1, 2],
            [3, 4],
            [5, 6],
            [7, 8]])
    """
    return value.flatten(0, 1)


@op
def unmerge_rows(values: Tensor, like: Tensor) -> Tensor:
    """Undo ``merge_rows``: rows [batch·count, ...] as [batch, count, ...], with the first two axes of ``like``.

    >>> ops.unmerge_rows(torch.tensor([1, 2, 3, 4, 5, 6]), torch.zeros(2, 3, 8))
    tensor([[1, 2, 3],
            [4, 5, 6]])
    """
    return values.unflatten(0, like.shape[:2])
