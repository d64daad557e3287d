"""Rows that a function makes from their numbers: simulators as data, large enough never to repeat."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from kdrun.data.dataset import Batch, BatchTransform, Column, DataInfo, Dataset

__all__ = ["GeneratedDataset"]


class GeneratedDataset(Dataset):
    """``size`` rows made on demand by ``generate(positions [batch], int64) -> {column: [batch, ...]}``.

    A row depends on its number alone, never on the batch or the order in which it is asked for, so that training on a
    stream of fresh rows resumes exactly. Nothing is kept.
    """

    def __init__(
        self,
        generate: Callable[[Tensor], Batch],
        size: int,
        info: DataInfo,
        *,
        chosen: Tensor | None = None,
        extra: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.generate, self.size, self.chosen, self.extra = generate, size, chosen, dict(extra or {})
        self.info = replace(info, size=len(self))

    def __len__(self) -> int:
        return self.size if self.chosen is None else len(self.chosen)

    @property
    def positions(self) -> Tensor:
        """The number of each row, int64."""
        return torch.arange(self.size) if self.chosen is None else self.chosen

    def index_bound(self) -> int:
        if self.chosen is None:
            return self.size
        return int(self.chosen.max()) + 1 if len(self) else 0

    def recurring(self) -> bool:
        return False

    def _copy(self, chosen: Tensor | None, extra: Mapping[str, Tensor], info: DataInfo) -> GeneratedDataset:
        return GeneratedDataset(self.generate, self.size, info, chosen=chosen, extra=extra)

    def select(self, indices: Tensor) -> GeneratedDataset:
        chosen = indices.clone() if self.chosen is None else self.chosen[indices]
        extra = {name: column[indices] for name, column in self.extra.items()}
        return self._copy(chosen, extra, self.info).inherit(self)

    def with_columns(self, columns: Mapping[str, Tensor], *, classes: int | None = None) -> GeneratedDataset:
        added = {name: Column(tuple(column.shape[1:]), column.dtype) for name, column in columns.items()}
        number = self.info.classes if classes is None else classes
        info = replace(self.info, columns={**self.info.columns, **added}, classes=number)
        return self._copy(self.chosen, {**self.extra, **columns}, info).inherit(self, changed=columns)

    def with_transforms(self, transforms: tuple[BatchTransform, ...]) -> GeneratedDataset:
        copy: GeneratedDataset = self._copy(self.chosen, self.extra, self.info).inherit(self)
        copy.transforms = tuple(transforms)
        return copy

    def rows(self, indices: Tensor | None = None) -> Batch:
        order = torch.arange(len(self)) if indices is None else indices
        positions = order if self.chosen is None else self.chosen[order]
        batch = dict(self.generate(positions))
        batch.update({name: column[order] for name, column in self.extra.items()})
        batch["index"] = positions
        return batch

    def draw(self, chunks: Iterable[Tensor], device: torch.device, workers: int) -> Iterator[Batch]:
        for chunk in chunks:
            yield {name: column.to(device, non_blocking=True) for name, column in self.rows(chunk).items()}
