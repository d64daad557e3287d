"""Batches of a loader, in an order fixed by seed and epoch."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from kdrun.data.dataset import Dataset
from kdrun.runtime.context import Context
from kdrun.stages.train.length import Length

__all__ = ["Feed"]


class Feed:
    """Endless batches of one loader, in an order fixed by seed and epoch; can start anywhere."""

    def __init__(self, name: str, data: Dataset, size: int, length: Length, context: Context) -> None:
        self.name, self.data, self.size, self.length, self.context = name, data, size, length, context
        self.ordered = length.order if name == "data" else None
        self.per_epoch = length.per_epoch
        if name != "data":
            self.per_epoch = max(1, len(data) // size if length.drop_last else -(-len(data) // size))

    def _drops(self, rows: Tensor | None) -> bool:
        """Whether the last rows that fill no batch are left out; of a loader that has fewer than one batch, they are the batch."""
        count = len(self.data) if rows is None else len(rows)
        return self.length.drop_last and (self.name == "data" or count >= self.size)

    def start(self, step: int) -> Iterator[dict[str, Tensor]]:
        """Batches from global ``step`` on."""
        epoch, skip = divmod(step, self.per_epoch)
        while True:
            yield from self.epoch(epoch, skip=skip)
            epoch, skip = epoch + 1, 0

    def epoch(self, epoch: int, rows: Tensor | None = None, skip: int = 0) -> Iterator[dict[str, Tensor]]:
        """The batches of one epoch, of all rows or of ``rows``, from batch number ``skip`` on."""
        order = rows
        if self.ordered is not None:
            order = self.ordered(epoch)
        elif self.length.shuffle:
            count = len(self.data) if rows is None else len(rows)
            order = torch.randperm(count, generator=self.context.generator("order", self.name, epoch))
            order = order if rows is None else rows[order]
        batches = self.data.batches(
            self.size,
            order=order,
            drop_last=self._drops(rows),
            device=self.context.device,
            workers=self.context.hardware.workers,
            start=skip,
            shards=self.context.hardware.shards,
        )
        if not self.data.random_transforms():
            yield from batches
        else:
            yield from self._transformed(batches, epoch, skip)

    def _transformed(self, batches: Iterator[dict[str, Tensor]], epoch: int, skip: int) -> Iterator[dict[str, Tensor]]:
        for i, batch in enumerate(batches, skip):
            yield self.augmented(batch, "augment", epoch, i)

    def augmented(self, batch: dict[str, Tensor], *labels: object) -> dict[str, Tensor]:
        """The batch after the data's random transforms, whose numbers depend on ``labels``."""
        generator = self.context.generator(labels[0], self.name, *labels[1:])
        for transform in self.data.random_transforms():
            batch = transform(batch, generator)
        return batch
