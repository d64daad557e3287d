"""Building blocks of step graphs."""

from __future__ import annotations

import torch

from support.models import make


def test_free_vectors_start_as_widely_as_they_are_told() -> None:
    index = torch.arange(2000)
    plain, wide, still = (make("row_vectors", rows=2000, features=8, spread=s)(index) for s in (1.0, 3.0, 0.0))
    assert torch.allclose(wide, 3 * plain)
    assert abs(float(plain.detach().std()) - 1) < 0.05
    assert still.eq(0).all()
    assert still.requires_grad
