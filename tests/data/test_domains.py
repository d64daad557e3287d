"""Domains that differ between and agree within runs."""

from __future__ import annotations

import pytest
import torch

from kdrun.data.domains import DomainGlyphs, Wilds
from kdrun.data.tasks import SplitCifar100
from kdrun.errors import DataError


def test_domains_differ_between_and_agree_within_runs() -> None:
    data = DomainGlyphs(per_domain=20, seed=3)
    first, again = data.load(), DomainGlyphs(per_domain=20, seed=3).load()
    assert torch.equal(first["train"].rows()["image"], again["train"].rows()["image"])
    assert len(first["train"]) == 240
    assert [len(first[n]) for n in ("valid", "test")] == [2, 6]
    assert first["test"][0].rows()["domain"].unique().tolist() == [14]
    assert first["train"].rows()["domain"].unique().tolist() == list(range(12))


def test_absent_data_is_asked_for(tmp_path) -> None:
    with pytest.raises(DataError, match="cifar-100-python"):
        SplitCifar100(root=str(tmp_path)).load()
    assert len(SplitCifar100(root="x").info()["tasks"]) == 10
    with pytest.raises(DataError, match="not 'mnist'"):
        Wilds(name="mnist", root="x")
    assert len(Wilds(name="fmow", root="x", test_domains=3).info()["test"]) == 3
