"""Views: rows that come several times, each as random transforms made it once, and made again from its seed whenever it is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kdrun.errors import DataError, InputError
from kdrun.randomness import stream

if TYPE_CHECKING:
    from kdrun.data.dataset import Dataset

__all__ = ["VIEW", "as_drawn", "drawn_views", "undrawn_views"]

VIEW = "view"
"""The column that makes a row a view: the seed of its transforms (int64)."""


def drawn_views(data: Dataset, draws: int, *, seed: int) -> Dataset:
    """Each row ``draws`` times, all once, then all once more, as views of their own.

    A view is transformed alone, by its own numbers, so that it is the same, bit by bit, in whatever batch it is read; no image is kept.
    Raises ``InputError`` for rows that nothing transforms, or that are views already.

    >>> from kdrun.data.views import drawn_views
    >>> pool = data.MemoryDataset({"image": torch.ones(2, 1, 4, 4)}, data.DataInfo({"image": data.Column((1, 4, 4))}))
    >>> noisy = pool.with_transforms((lambda batch, g: {**batch, "image": batch["image"] + torch.rand(1, generator=g)},))
    >>> views = drawn_views(noisy, 3, seed=0)
    >>> whole = next(iter(views.batches(6)))["image"]
    >>> part = next(iter(views.batches(2, order=torch.tensor([4, 1]))))["image"]
    >>> len(whole.unique()), torch.equal(part, whole[[4, 1]])
    (6, True)
    """
    if VIEW in data.info.columns:
        raise InputError("the rows are views already", key="draws")
    if not data.transforms:
        raise InputError("all views of a row would be the same: nothing transforms it (data.augment)", key="draws")
    rows = torch.arange(len(data)).repeat(draws)
    seeds = torch.randint(2**62, (len(rows),), generator=stream(seed, "views"))
    return data.select(rows).with_columns({VIEW: seeds})


def undrawn_views(data: Dataset, draws: int | None) -> Dataset:
    """As many rows as ``drawn_views`` would give, for planning, where nothing is transformed."""
    if draws is None:
        return data
    rows = torch.arange(len(data)).repeat(draws)
    return data.select(rows).with_columns({VIEW: torch.zeros(len(rows), dtype=torch.int64)})


def as_drawn(
    batch: dict[str, Tensor], transforms: Sequence[Callable[[dict[str, Tensor], torch.Generator], dict[str, Tensor]]]
) -> dict[str, Tensor]:
    """A batch of views, each row transformed by the numbers of its own seed.

    Raises ``DataError`` where a transform adds columns, as one that blends several rows does, or changes sizes from row to row.
    """
    rows = []
    for i, seed in enumerate(batch[VIEW].tolist()):
        generator = torch.Generator().manual_seed(seed)
        one = {name: column[i : i + 1] for name, column in batch.items()}
        for transform in transforms:
            one = transform(one, generator)
        rows.append(one)
    found = {name: [row[name] for row in rows] for name in rows[0]} if rows else {}
    if rows and found.keys() != batch.keys():
        raise DataError(
            "a view is made of one row alone, and a transform (as mixup) blends several", key="data.augment"
        )
    if any(len({one.shape for one in column}) > 1 for column in found.values()):
        raise DataError(
            "views of one batch are of one size, and a transform cuts each row to another", key="data.augment"
        )
    return {name: torch.cat(column) for name, column in found.items()} if rows else batch
