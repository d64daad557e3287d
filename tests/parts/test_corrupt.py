"""Columns whose link to the others is broken."""

from __future__ import annotations

import pytest
import torch

from kdrun.errors import InputError
from kdrun.parts.corrupt import permuted_columns
from support.data import dataset


def test_permuted_columns_stay_together_and_lose_the_others() -> None:
    data = dataset(bag=torch.arange(50), time=torch.arange(50), event=2 * torch.arange(50))
    found = permuted_columns(data, columns=["time", "event"], generator=torch.Generator().manual_seed(0)).rows()
    assert torch.equal(found["bag"], torch.arange(50))
    assert torch.equal(found["event"], 2 * found["time"])
    assert sorted(found["time"].tolist()) == list(range(50))
    assert (found["time"] == found["bag"]).sum() < 10
    with pytest.raises(InputError, match="no column 'tme'"):
        permuted_columns(data, columns=["tme"], generator=torch.Generator())
