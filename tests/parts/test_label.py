"""New columns for rows."""

from __future__ import annotations

import pytest
import torch

from kdrun.errors import InputError
from kdrun.models.bags import GatedAttentionMIL
from kdrun.parts.label import column_values, stacked_features
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
