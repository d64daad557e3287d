"""Parts of the ``partition`` stage: data sets into numbered parts (tasks, clients, domains, requests).

A part takes one data set or several, and ``parts.0`` is the first part, or ``parts.0.NAME`` by the name of the input.
"""

from __future__ import annotations

import torch

from kdrun.data.dataset import Dataset
from kdrun.errors import InputError
from kdrun.registry import partition
from kdrun.types import Count, Unsigned

__all__ = ["by_class", "random_parts"]


@partition(items="groups")
def by_class(data: Dataset, *, groups: Count | list[list[Unsigned]]) -> list[Dataset]:
    """The rows of each group of classes, in order: ``groups: [[0, 1], [2, 3]]``, or a number of groups of equal size.

    Raises ``InputError`` if a group has no row.
    """
    labels = data.rows()["label"]
    if isinstance(groups, int):
        classes = data.info.classes or int(labels.max()) + 1
        groups = [group.tolist() for group in torch.arange(classes).tensor_split(groups)]
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
    """
    size = len(data) // parts if size is None else size
    if size == 0 or parts * size > len(data):
        raise InputError(f"{parts} parts of {max(size, 1)} rows do not fit into {len(data)} rows")
    order = torch.randperm(len(data), generator=generator)
    return [data.select(chosen) for chosen in order[: parts * size].split(size)]
