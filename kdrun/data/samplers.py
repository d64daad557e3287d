"""Which rows make up the batches of an epoch.

A sampler returns row numbers [chosen] (int64); consecutive ``batch_size`` of them are one batch. Their number is the same in
every epoch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kdrun.data.dataset import Dataset
from kdrun.errors import InputError
from kdrun.registry import sampler

__all__ = ["one_group_a_batch"]


@sampler
def one_group_a_batch(data: Dataset, batch_size: int, *, column: str = "domain", generator: torch.Generator) -> Tensor:
    """Batches whose rows share one value of ``column``, in random order: episodes of one domain.

    ``data`` has that column; the result [chosen] (int64) are row numbers, ``batch_size`` of one value after another.
    What does not fill a batch of its group is left out of the epoch. Raises ``InputError`` if no group fills one.

    >>> columns = {"domain": torch.tensor([0, 1, 0, 1, 0])}
    >>> rows = data.MemoryDataset(columns, data.DataInfo({"domain": data.Column((), torch.int64)}))
    >>> chosen = data.one_group_a_batch(rows, 2, generator=torch.Generator().manual_seed(0))
    >>> columns["domain"][chosen].view(2, 2).sort(0).values
    tensor([[0, 0],
            [1, 1]])
    """
    values = data.column(column)
    batches = []
    for value in values.unique():
        rows = (values == value).nonzero().squeeze(1)
        rows = rows[torch.randperm(len(rows), generator=generator)]
        batches += [rows[i : i + batch_size] for i in range(0, len(rows) - batch_size + 1, batch_size)]
    if not batches:
        raise InputError(f"no value of '{column}' has {batch_size} rows")
    order = torch.randperm(len(batches), generator=generator)
    return torch.cat([batches[i] for i in order.tolist()])
