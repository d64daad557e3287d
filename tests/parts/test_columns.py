"""Columns read, written, dealt out and filled by models."""

from __future__ import annotations

import pytest
import torch

from kdrun.errors import InputError
from kdrun.models.bags import GatedAttentionMIL
from kdrun.parts.columns import column_values, permuted_columns, stacked_features
from support.contexts import stage_context
from support.data import dataset, labelled


def test_a_column_has_one_value_a_row() -> None:
    rows = labelled(12)
    assert column_values(rows, torch.ones(12, 2), column="feature").rows()["feature"].shape == (12, 2)
    with pytest.raises(InputError, match="one value a row"):
        column_values(rows, torch.ones(3), column="feature")


ATTENTION = {"embedding": 8, "attention": 6, "in_features": 5, "num_classes": 3}


def test_features_of_several_models_stand_in_their_order() -> None:
    models = [GatedAttentionMIL(**ATTENTION).eval() for _ in range(3)]
    data = dataset(bag=torch.randn(5, 4, 5), time=torch.rand(5))
    context = stage_context()
    found = stacked_features(models, data, batch_size=2, context=context).rows()["sources"]
    expected = torch.stack([m(data.rows()["bag"])["feature"] for m in models], dim=1)
    torch.testing.assert_close(found, expected.detach())


def test_permuted_columns_stay_together_and_lose_the_others() -> None:
    data = dataset(bag=torch.arange(50), time=torch.arange(50), event=2 * torch.arange(50))
    found = permuted_columns(data, columns=["time", "event"], generator=torch.Generator().manual_seed(0)).rows()
    assert torch.equal(found["bag"], torch.arange(50))
    assert torch.equal(found["event"], 2 * found["time"])
    assert sorted(found["time"].tolist()) == list(range(50))
    assert (found["time"] == found["bag"]).sum() < 10
    with pytest.raises(InputError, match="no column 'tme'"):
        permuted_columns(data, columns=["tme"], generator=torch.Generator())
