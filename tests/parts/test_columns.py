"""Columns read, written, dealt out and filled by models."""

from __future__ import annotations

import itertools

import pytest
import torch

from kdrun.errors import InputError
from kdrun.models.bags import GatedAttentionMIL
from kdrun.parts.columns import added_perturbation, column_values, permuted_columns, stacked_features
from support.contexts import stage_context
from support.data import dataset, labelled
from support.tensors import generator


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


def test_a_perturbation_of_a_class_is_added_to_its_rows_and_pixels_stay_in_range() -> None:
    image = torch.rand(40, 1, 2, 2)
    rows = dataset(4, image=image, label=torch.arange(40) % 4)
    values = torch.tensor([-2.0, 0.0, 0.1, 2.0])[:, None, None, None].expand(4, 1, 2, 2)
    found = added_perturbation(rows, values, of="label", generator=generator()).column("image")
    by_class = [found[torch.arange(40) % 4 == c] for c in range(4)]
    assert (by_class[0] == 0).all()
    assert torch.equal(by_class[1], image[1::4])
    assert torch.allclose(by_class[2], (image[2::4] + 0.1).clamp_max(1))
    assert (by_class[3] == 1).all()


def test_a_larger_share_of_perturbed_rows_adds_to_a_smaller_one() -> None:
    rows, values = dataset(image=torch.zeros(50, 3)), torch.full((50, 3), 0.5)
    chosen = []
    for share in (0.0, 0.2, 0.6, 1.0):
        found = added_perturbation(rows, values, share=share, generator=generator()).column("image")[:, 0] > 0
        assert found.sum() == share * 50
        chosen.append(found)
    assert all((more | ~less).all() for less, more in itertools.pairwise(chosen))
    with pytest.raises(InputError, match="50 perturbations are needed, one for each row: got 49"):
        added_perturbation(rows, values[1:], generator=generator())
