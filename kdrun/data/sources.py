"""Any labelled data set dealt out to sources of different classes and quality."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from kdrun.data.dataset import Column, DataInfo, Dataset, FileDataset, MemoryDataset
from kdrun.errors import DataError
from kdrun.registry import catalog, data
from kdrun.types import Count, Fraction, Unsigned

__all__ = ["ClassSources"]


@data(name="class_sources", fields=("pool", "public", "valid", "test"))
class ClassSources:
    """The training rows of another data set (``base``: its own node) as sources that each hold a group of classes.

    ``groups`` lists the classes of each source. ``leakage`` is, for all or for each, about which share of a source's
    rows is of other classes (evenly over them); ``wrong_labels`` which share gets a label drawn from all classes at
    random. ``public`` clean rows are set aside first. Splits: ``pool`` with the column ``source`` (int64), ``public``,
    and the base's own ``valid`` and ``test``, if it has them. Everything is drawn once, by ``seed``. Rows of classes in no group are
    left out. Raises ``DataError`` for a class in two groups, other numbers of shares than of groups, or too few rows.

    >>> splits = data.class_sources(base={"data": "digits"}, groups=[[0, 1, 2], [3, 4]], public=100).load()
    >>> splits["pool"].rows()["source"].unique(), len(splits["public"])
    (tensor([0, 1]), 100)
    """

    def __init__(
        self,
        *,
        base: dict[str, Any],
        groups: list[list[Unsigned]],
        leakage: Fraction | list[Fraction] = 0.02,
        wrong_labels: list[Fraction] | None = None,
        public: Count = 200,
        seed: Unsigned = 0,
    ) -> None:
        self.base, self.groups, self.public, self.seed = dict(base), groups, public, seed
        self.leakage = leakage if isinstance(leakage, list) else [leakage] * len(groups)
        self.wrong = wrong_labels or [0.0] * len(groups)
        flat = [c for group in groups for c in group]
        if len(set(flat)) < len(flat):
            raise DataError("a class belongs to one source", key="data.groups")
        for name, given in (("leakage", self.leakage), ("wrong_labels", self.wrong)):
            if len(given) != len(groups):
                raise DataError(f"{len(groups)} sources need as many shares, got {len(given)}", key=f"data.{name}")

    def _part(self) -> Any:
        own = {k: v for k, v in self.base.items() if k not in ("data", "augment")}
        return catalog().get("data", self.base["data"], key="data.base").load()(**own)

    def info(self) -> dict[str, DataInfo]:
        found = self._part().info()
        train = found["train"]
        count = None if train.size is None else max(train.size - self.public, 0)
        known = train.classes is not None and len({c for g in self.groups for c in g}) == train.classes
        columns = {**train.columns, "source": Column((), torch.int64)}
        pool = replace(train, columns=columns, size=count if known else None)
        return {"pool": pool, "public": replace(train, size=self.public), **_held_out(found)}

    def load(self) -> Mapping[str, Dataset]:
        """Raises ``DataError`` if the public rows or the leakage ask for more than there is."""
        splits = self._part().load()
        train = splits["train"]
        if self.public >= len(train):
            raise DataError(f"{self.public} public rows of {len(train)} leave none for sources", key="data.public")
        generator = torch.Generator().manual_seed(self.seed)
        order = torch.randperm(len(train), generator=generator)
        public, rest = order[: self.public], order[self.public :]
        labels = train.rows(rest)["label"]
        source = self._dealt(labels, generator)
        kept = source >= 0
        rows, labels, source = rest[kept], labels[kept].clone(), source[kept]
        classes = train.info.classes or int(labels.max()) + 1
        for i, share in enumerate(self.wrong):
            drawn = torch.rand(len(labels), generator=generator) < share
            random = torch.randint(classes, (len(labels),), generator=generator)
            labels = torch.where((source == i) & drawn, random, labels)
        pool = _renumbered(train, rows, {"label": labels, "source": source})
        return {"pool": pool, "public": _renumbered(train, public, {}), **_held_out(splits)}

    def _dealt(self, labels: Tensor, generator: torch.Generator) -> Tensor:
        """The source of each row (rows are in random order): leaks first, what is left goes home."""
        home = torch.full_like(labels, -1)
        for i, group in enumerate(self.groups):
            home[torch.isin(labels, torch.tensor(group))] = i
        source = torch.full_like(labels, -1)
        for i in range(len(self.groups)):
            others = [c for k, g in enumerate(self.groups) if k != i for c in g]
            wanted = round(self.leakage[i] * int((home == i).sum()))
            for k, label in enumerate(others):
                count = wanted // len(others) + (k < wanted % len(others))
                free = ((labels == label) & (source < 0)).nonzero().squeeze(1)
                if len(free) < count:
                    raise DataError(f"class {label} has too few rows to leak into source {i}", key="data.leakage")
                source[free[:count]] = i
        return torch.where(source < 0, home, source)


def _held_out(splits: Mapping[str, Any]) -> dict[str, Any]:
    return {split: splits[split] for split in ("valid", "test") if split in splits}


def _renumbered(data: Dataset, rows: Tensor, columns: Mapping[str, Tensor]) -> Dataset:
    """The chosen rows as a data set of their own, numbered from 0, with columns added or replaced."""
    if isinstance(data, FileDataset):
        chosen: Dataset = FileDataset(_Decode(data.select(rows)), len(rows), data.info)
    else:
        own = {name: value for name, value in data.rows(rows).items() if name != "index"}
        chosen = MemoryDataset(own, data.info)
    return chosen.with_columns(columns) if columns else chosen


class _Decode:
    """Decodes row ``i`` of chosen rows of a file data set; picklable for worker processes."""

    def __init__(self, chosen: FileDataset) -> None:
        self.inner: Callable[[int], dict[str, Tensor]] = chosen.decode
        self.positions = chosen.positions
        self.extra = chosen.extra

    def __call__(self, row: int) -> dict[str, Tensor]:
        item = self.inner(int(self.positions[row]))
        return {**item, **{name: column[row] for name, column in self.extra.items()}}
