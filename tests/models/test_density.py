"""The network that draws density maps."""

from __future__ import annotations

import pytest
import torch

from kdrun.models.building import build
from kdrun.models.taps import tap


def test_density_network_has_the_published_size_and_taps() -> None:
    with torch.device("meta"):
        whole = build({"model": "dilated_density_net", "in_channels": 3})
        quarter = build({"model": "dilated_density_net", "width_divisor": 4, "in_channels": 3})
    count = [sum(p.numel() for p in m.parameters()) / 1e6 for m in (whole, quarter)]
    assert count == [pytest.approx(16.26, abs=0.01), pytest.approx(1.02, abs=0.01)]
    small = build(
        {"model": "dilated_density_net", "widths": [4, 4, 8, 8], "convolutions": [1, 1, 1, 1], "in_channels": 3}
    )
    slots = [tap(small, p) for p in ("stem", "pool_1", "pool_2", "pool_3", "back_1", "back_4")]
    assert small(torch.zeros(1, 3, 30, 32)).shape == (1, 1, 4, 4), "sizes are rounded up"
    assert [s.take().shape[-1] for s in slots] == [32, 16, 8, 4, 4, 4]
