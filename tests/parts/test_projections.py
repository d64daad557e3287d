"""Principal components as numbers and as a layer."""

from __future__ import annotations

import pytest
import torch

from kdrun.errors import InputError
from kdrun.parts.projections import pca, principal_components
from support.data import corners
from support.tensors import generator


def test_principal_components_find_the_plane_in_which_data_lies() -> None:
    axes = torch.linalg.qr(torch.randn(6, 2, generator=generator()))[0].T
    plane = torch.randn(50, 2, generator=generator(1)) * torch.tensor([5.0, 1.0]) @ axes + 3.0
    found = pca(plane, variance=0.999)
    assert found["values"].shape == (50, 2)
    assert torch.allclose(found["values"] @ found["axes"] + found["mean"], plane, atol=1e-4)
    assert found["explained"].sum().item() == pytest.approx(1.0)
    assert torch.allclose(found["axes"] @ found["axes"].T, torch.eye(2), atol=1e-5)
    assert torch.allclose(torch.pdist(found["values"]), torch.pdist(plane), atol=1e-4)
    assert pca(plane, variance=0.5)["values"].shape == (50, 1)
    assert pca(plane + torch.randn(50, 6, generator=generator(2)), variance=1.0, most=3)["values"].shape == (50, 3)
    with pytest.raises(InputError, match="no 9 principal"):
        pca(plane, components=9)


def test_principal_components_are_centred_uncorrelated_and_of_unit_variance() -> None:
    data = corners()
    model = principal_components(data, components=2)
    with torch.no_grad():
        z = model(data.rows()["image"])
    assert torch.allclose(z.mean(0), torch.zeros(2), atol=1e-5)
    assert torch.allclose(z.T.cov(), torch.eye(2), atol=1e-4)
    raw = principal_components(data, components=3, standardize=False)
    with torch.no_grad():
        turned = raw(data.rows()["image"])
    lengths = [(x - x.mean(0)).square().sum(1) for x in (turned, data.rows()["image"])]
    assert torch.allclose(*lengths, rtol=1e-4)  # all components: a rotation
    with pytest.raises(InputError, match="no 4 principal components"):
        principal_components(data, components=4)
