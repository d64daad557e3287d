"""What flows between stages as "data": named columns, in memory or decoded from files on demand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from kdrun.data.views import VIEW, as_drawn

__all__ = ["Column", "DataInfo", "DataPart", "Dataset", "FileDataset", "MemoryDataset", "few_left_over"]

Batch = dict[str, Tensor]
BatchTransform = Callable[[Batch, torch.Generator], Batch]


@dataclass(frozen=True)
class Column:
    """One column as a model sees it: the shape of a single row (no batch axis) and its dtype."""

    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32


@dataclass(frozen=True)
class DataInfo:
    """What is known of a split without reading it; enough to plan a run.

    ``columns`` maps names to row shapes, such as ``{"image": Column((3, 32, 32)), "label": Column((), torch.int64)}``.
    ``classes`` is the number of labels, or None. ``size`` is the number of rows, or None if unknown.
    """

    columns: Mapping[str, Column]
    classes: int | None = None
    size: int | None = None
    class_names: tuple[str, ...] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


class SharedDecoding(Protocol):
    """Processes that divide the decoding of batches among themselves, and each get all of them."""

    def decode(self, batches: Callable[[list[Tensor]], Iterator[Batch]], chunks: list[Tensor]) -> Iterator[Batch]:
        """The batches of ``chunks`` (row numbers), in order; ``batches`` decodes some of them."""
        ...


class DataPart(Protocol):
    """What a registered data part offers. Its constructor takes parameters and does no I/O."""

    def info(self) -> Mapping[str, DataInfo]:
        """Return, per split, what is known without reading anything."""
        ...

    def load(self) -> Mapping[str, Dataset]:
        """Read the data and return it per split. Raises ``DataError`` if it is missing or broken."""
        ...


class Dataset:
    """Rows with named columns. Every batch also has ``index``: the row's number in its split, int64."""

    info: DataInfo
    decoded = False
    """Whether reading rows takes work, in ``workers`` processes."""
    transforms: tuple[BatchTransform, ...] = ()
    origin: tuple[Mapping[str, Any], str] | None = None
    """The declared data and the split that these rows come from; None for generated rows."""
    changed: frozenset[str] = frozenset()
    """Columns added or replaced since then."""

    def inherit(self, other: Dataset, *, changed: Iterable[str] = ()) -> Any:
        """Take over transforms, origin and changes of the data set that this one was made from."""
        self.transforms = other.transforms
        self.origin = other.origin
        self.changed = other.changed | set(changed)
        return self

    def random_transforms(self) -> tuple[BatchTransform, ...]:
        """Those that training applies anew in each epoch: none of them where rows are views, which ``batches`` gives as they were drawn."""
        return () if VIEW in self.info.columns else self.transforms

    def __len__(self) -> int:
        raise NotImplementedError

    def index_bound(self) -> int:
        """One more than the largest ``index``: the length of a table with an entry a row."""
        raise NotImplementedError

    def recurring(self) -> bool:
        """Whether ``index`` names a row that comes again every epoch: no stream of fresh rows, and no row chosen twice."""
        raise NotImplementedError

    def rows(self, indices: Tensor | None = None) -> Batch:
        """Decode rows (all of them by default) into one batch, without random transforms."""
        raise NotImplementedError

    def column(self, name: str) -> Tensor:
        """One column [rows, ...], without decoding the others where they can be left alone."""
        return self.rows()[name]

    def select(self, indices: Tensor) -> Dataset:
        """Return the rows at ``indices`` (int64), in that order."""
        raise NotImplementedError

    def with_columns(self, columns: Mapping[str, Tensor], *, classes: int | None = None) -> Dataset:
        """Return a copy with columns added or replaced (each ``[rows, ...]``), and perhaps another class count."""
        raise NotImplementedError

    def with_transforms(self, transforms: tuple[BatchTransform, ...]) -> Dataset:
        """Return a copy whose training batches pass through ``transforms``, each ``(batch, generator) -> batch``."""
        raise NotImplementedError

    def batches(
        self,
        batch_size: int,
        *,
        order: Tensor | None = None,
        drop_last: bool = False,
        device: torch.device | str = "cpu",
        workers: int = 0,
        start: int = 0,
        shards: SharedDecoding | None = None,
    ) -> Iterator[Batch]:
        """Yield batches in ``order`` (a permutation or any index sequence, int64), from batch number ``start`` on.

        Random transforms are not applied here: the training stage does, with its own generator; views alone are transformed, by their
        own seeds. Processes that train together, ``shards``, get the same batches, and divide the work of decoding them.
        """
        device = torch.device(device)
        chunks = _chunks(len(self) if order is None else order.cpu(), batch_size, drop_last, start)
        if shards is None or not self.decoded:
            found = self.draw(chunks, device, workers)
        else:
            found = shards.decode(lambda own: self.draw(own, device, workers), list(chunks))
        if self.transforms and VIEW in self.info.columns:
            return (as_drawn(batch, self.transforms) for batch in found)
        return found

    def draw(self, chunks: Iterable[Tensor], device: torch.device, workers: int) -> Iterator[Batch]:
        """Yield a batch for each chunk of row numbers (int64)."""
        raise NotImplementedError


def few_left_over(rows: int, batch_size: int) -> int:
    """Rows of the last batch if they are so few, at most 2 or a thirty-second of a batch, that their statistics are noise; else 0."""
    left = rows % batch_size if rows > batch_size >= 8 else 0
    return left if left <= max(2, batch_size // 32) else 0


def _chunks(order: Tensor | int, batch_size: int, drop_last: bool, start: int) -> Iterator[Tensor]:
    """Row numbers batch by batch: of ``order``, or from 0 up to it; one at a time, as streams of rows have no end to speak of."""
    count = order if isinstance(order, int) else len(order)
    stop = count - count % batch_size if drop_last else count
    for first in range(start * batch_size, stop, batch_size):
        last = min(first + batch_size, stop)
        yield torch.arange(first, last) if isinstance(order, int) else order[first:last]


class MemoryDataset(Dataset):
    """Columns held as tensors: batches are plain indexing, with no workers and no copies between processes."""

    def __init__(self, columns: Mapping[str, Tensor], info: DataInfo) -> None:
        self.columns = dict(columns)
        length = len(next(iter(self.columns.values())))
        self.columns.setdefault("index", torch.arange(length))
        self.info = replace(info, size=length)
        self._on_device: dict[torch.device, dict[str, Tensor]] = {}

    def __len__(self) -> int:
        return len(self.columns["index"])

    def index_bound(self) -> int:
        return int(self.columns["index"].max()) + 1 if len(self) else 0

    def recurring(self) -> bool:
        return len(self.columns["index"].unique()) == len(self)

    def rows(self, indices: Tensor | None = None) -> Batch:
        if indices is None:
            return dict(self.columns)
        return {name: column[indices] for name, column in self.columns.items()}

    def select(self, indices: Tensor) -> MemoryDataset:
        chosen = {name: column[indices] for name, column in self.columns.items()}
        return MemoryDataset(chosen, self.info).inherit(self)

    def with_columns(self, columns: Mapping[str, Tensor], *, classes: int | None = None) -> MemoryDataset:
        info = _extended(self.info, columns, classes)
        return MemoryDataset({**self.columns, **columns}, info).inherit(self, changed=columns)

    def with_transforms(self, transforms: tuple[BatchTransform, ...]) -> MemoryDataset:
        copy: MemoryDataset = MemoryDataset(self.columns, self.info).inherit(self)
        copy.transforms = tuple(transforms)
        return copy

    def draw(self, chunks: Iterable[Tensor], device: torch.device, workers: int) -> Iterator[Batch]:
        if device not in self._on_device:
            self._on_device[device] = {name: column.to(device) for name, column in self.columns.items()}
        columns = self._on_device[device]
        for chunk in chunks:
            rows = chunk.to(device, non_blocking=True)
            yield {name: column[rows] for name, column in columns.items()}


class _Rows(torch.utils.data.Dataset[Batch]):
    """Adapts ``decode`` to a map-style torch data set; picklable for worker processes."""

    def __init__(self, decode: Callable[[int], Batch], positions: Tensor, extra: Mapping[str, Tensor]) -> None:
        self.decode, self.positions, self.extra = decode, positions, extra

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, row: int) -> Batch:
        item = self.decode(int(self.positions[row]))
        item["index"] = self.positions[row]
        item.update({name: column[row] for name, column in self.extra.items()})
        return item


class FileDataset(Dataset):
    """Rows decoded from files by ``decode(position) -> {column: tensor}``, through a torch ``DataLoader``."""

    decoded = True

    def __init__(
        self,
        decode: Callable[[int], Batch],
        size: int,
        info: DataInfo,
        *,
        positions: Tensor | None = None,
        extra: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.decode = decode
        self.positions = torch.arange(size) if positions is None else positions
        self.extra = dict(extra or {})
        self.info = replace(info, size=len(self.positions))

    def __len__(self) -> int:
        return len(self.positions)

    def index_bound(self) -> int:
        return int(self.positions.max()) + 1 if len(self) else 0

    def recurring(self) -> bool:
        return len(self.positions.unique()) == len(self)

    def column(self, name: str) -> Tensor:
        return self.extra[name] if name in self.extra else self.rows()[name]

    def select(self, indices: Tensor) -> FileDataset:
        extra = {name: column[indices] for name, column in self.extra.items()}
        return FileDataset(self.decode, 0, self.info, positions=self.positions[indices], extra=extra).inherit(self)

    def with_columns(self, columns: Mapping[str, Tensor], *, classes: int | None = None) -> FileDataset:
        info = _extended(self.info, columns, classes)
        extra = {**self.extra, **columns}
        return FileDataset(self.decode, 0, info, positions=self.positions, extra=extra).inherit(self, changed=columns)

    def with_transforms(self, transforms: tuple[BatchTransform, ...]) -> FileDataset:
        copy: FileDataset = FileDataset(self.decode, 0, self.info, positions=self.positions, extra=self.extra).inherit(
            self
        )
        copy.transforms = tuple(transforms)
        return copy

    def rows(self, indices: Tensor | None = None) -> Batch:
        chosen = torch.arange(len(self)) if indices is None else indices
        parts = list(self.batches(256, order=chosen))
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def draw(self, chunks: Iterable[Tensor], device: torch.device, workers: int) -> Iterator[Batch]:
        loader: Any = torch.utils.data.DataLoader(
            _Rows(self.decode, self.positions, self.extra),
            batch_sampler=[chunk.tolist() for chunk in chunks],
            num_workers=workers,
            pin_memory=device.type == "cuda",
        )
        for batch in loader:
            yield {name: column.to(device, non_blocking=True) for name, column in batch.items()}


def _extended(info: DataInfo, columns: Mapping[str, Tensor], classes: int | None) -> DataInfo:
    added = {name: Column(tuple(column.shape[1:]), column.dtype) for name, column in columns.items()}
    return replace(info, columns={**info.columns, **added}, classes=info.classes if classes is None else classes)
