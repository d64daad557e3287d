"""Samplers of batches."""

from __future__ import annotations

import pytest
import torch

from kdrun.data.domains import DomainGlyphs
from kdrun.data.samplers import one_group_a_batch
from kdrun.errors import InputError


def test_a_batch_has_one_domain() -> None:
    data = DomainGlyphs(per_domain=20, source_domains=3).load()["train"]
    order = one_group_a_batch(data, 8, generator=torch.Generator().manual_seed(0))
    domains = data.rows()["domain"][order].view(-1, 8)
    assert domains.shape == (6, 8)
    assert (domains == domains[:, :1]).all()
    with pytest.raises(InputError, match="has 50 rows"):
        one_group_a_batch(data, 50, generator=torch.Generator())
