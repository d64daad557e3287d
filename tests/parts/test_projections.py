"""Principal components of rows."""

from __future__ import annotations

import pytest
import torch

from kdrun.errors import InputError
from kdrun.parts.projections import principal_components
from support.data import corners


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
