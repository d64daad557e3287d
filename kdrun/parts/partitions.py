"""Parts of the ``partition`` stage: data sets into numbered parts (tasks, clients, domains, requests).

A part takes one data set or several, and ``parts.0`` is the first part, or ``parts.0.NAME`` by the name of the input.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kdrun.data.dataset import Dataset
from kdrun.errors import InputError
from kdrun.registry import partition
from kdrun.types import Count, Fraction, Positive, Unsigned

__all__ = ["by_class", "label_skew", "random_parts"]


@partition(items="groups")
def by_class(data: Dataset, *, groups: Count | list[list[Unsigned]], column: str = "label") -> list[Dataset]:
    """The rows of each group of classes, in order: ``groups: [[0, 1], [2, 3]]``, or a number of groups of equal size.

    ``column`` may be another one of whole numbers, such as a domain; then a number of groups divides its values. Raises
    ``InputError`` if a group has no row.

    >>> pool = data.MemoryDataset({"label": torch.tensor([0, 3, 1, 2])}, data.DataInfo({}, classes=4))
    >>> [part.column("label").tolist() for part in parts.by_class(pool, groups=2)]
    [[0, 1], [3, 2]]
    """
    labels = data.column(column)
    if isinstance(groups, int):
        known = torch.arange(data.info.classes) if column == "label" and data.info.classes else labels.unique()
        groups = [group.tolist() for group in known.tensor_split(groups)]
    rows = [torch.isin(labels, torch.tensor(group)).nonzero().squeeze(1) for group in groups]
    for group, chosen in zip(groups, rows, strict=True):
        if len(chosen) == 0:
            raise InputError(f"no row is of the classes {group}")
    return [data.select(chosen) for chosen in rows]


@partition(items="parts")
def random_parts(
    data: Dataset, *, parts: Count, size: Count | None = None, generator: torch.Generator
) -> list[Dataset]:
    """Disjoint random parts of ``size`` rows each, or of as many as the data has for each (in random order).

    Raises ``InputError`` if there are too few rows.

    >>> pool = data.MemoryDataset({"label": torch.arange(5)}, data.DataInfo({}))
    >>> [len(part) for part in parts.random_parts(pool, parts=2, generator=torch.Generator())]
    [2, 2]
    """
    size = len(data) // parts if size is None else size
    if size == 0 or parts * size > len(data):
        raise InputError(f"{parts} parts of {max(size, 1)} rows do not fit into {len(data)} rows")
    order = torch.randperm(len(data), generator=generator)
    return [data.select(chosen) for chosen in order[: parts * size].split(size)]


@partition(items="parts")
def label_skew(
    train: Dataset,
    test: Dataset,
    *,
    parts: Count,
    concentration: Positive = 0.3,
    size: Count,
    test_size: Count = 60,
    groups: Count | None = None,
    shared: Fraction = 0.9,
    generator: torch.Generator,
) -> list[dict[str, Dataset]]:
    """Clients whose label distributions are drawn from a Dirichlet law (Hsu, Qi & Brown, 2019): ``parts.0.train``, ``parts.0.test``.

    Client k has ``size`` rows of ``train``, which no other client has, and ``test_size`` of ``test``, drawn by its own
    prior π_k ~ Dir(``concentration``). With ``groups``, consecutive clients in equal groups share a prior: π_k is ``shared``
    of the group's and the rest its own. A class that has run out gives its draws to those that are left.
    Raises ``InputError`` if there are too few rows.

    >>> pool = data.MemoryDataset({"label": torch.arange(40) % 4}, data.DataInfo({}, classes=4))
    >>> options = {"parts": 3, "size": 10, "test_size": 5, "concentration": 0.01}
    >>> clients = parts.label_skew(pool, pool, **options, generator=torch.Generator().manual_seed(0))
    >>> [parts.class_counts(client["train"]).tolist() for client in clients]
    [[0.0, 0.0, 10.0, 0.0], [0.0, 0.0, 0.0, 10.0], [10.0, 0.0, 0.0, 0.0]]
    """
    if parts * size > len(train) or test_size > len(test):
        raise InputError(f"{parts} clients with {size} and {test_size} rows: there are {len(train)} and {len(test)}")
    classes = train.info.classes or int(train.rows()["label"].max()) + 1
    priors = _dirichlet(parts, classes, concentration, generator)
    if groups is not None:
        common = _dirichlet(groups, classes, concentration, generator)
        mine = torch.arange(parts) * groups // parts
        priors = shared * common[mine] + (1 - shared) * priors
    pools = _pools(train.rows()["label"], classes, generator)
    clients = []
    for prior in priors:
        own = _drawn(prior, pools, size, generator)
        seen = _drawn(prior, _pools(test.rows()["label"], classes, generator), test_size, generator)
        clients.append({"train": train.select(own), "test": test.select(seen)})
    return clients


def _dirichlet(count: int, classes: int, concentration: float, generator: torch.Generator) -> Tensor:
    gamma = torch._standard_gamma(torch.full((count, classes), concentration).double(), generator=generator)
    return gamma.clamp_min(1e-30) / gamma.clamp_min(1e-30).sum(1, keepdim=True)


def _pools(labels: Tensor, classes: int, generator: torch.Generator) -> list[list[int]]:
    """Row numbers of each class, in random order."""
    order = torch.randperm(len(labels), generator=generator)
    return [order[labels[order] == c].tolist() for c in range(classes)]


def _drawn(prior: Tensor, pools: list[list[int]], size: int, generator: torch.Generator) -> Tensor:
    """Take ``size`` rows out of the pools, each of a class drawn from ``prior`` among those that have some left."""
    chosen: list[int] = []
    while len(chosen) < size:
        left = torch.tensor([bool(pool) for pool in pools])
        classes = torch.multinomial((prior + 1e-12) * left, size - len(chosen), replacement=True, generator=generator)
        chosen += [pools[c].pop() for c in classes.tolist() if pools[c]]
    return torch.tensor(chosen)
