"""Low-rank adapters of convolutions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kdrun.errors import InputError
from kdrun.models.low_rank import LowRankConv2d, insert_adapters, merge_adapters


def test_convolutions_take_adapters() -> None:
    layer = nn.Sequential(nn.Conv2d(3, 5, 3, stride=2, padding=1))
    image = torch.randn(2, 3, 9, 9)
    before = layer(image)
    adapted = insert_adapters(layer, ["0"], rank=2, alpha=4.0)
    assert isinstance(adapted[0], LowRankConv2d)
    assert torch.equal(adapted(image), before)
    nn.init.normal_(adapted[0].lora_B)
    said = adapted(image)
    assert (said - before).abs().max() > 0.1
    assert torch.allclose(merge_adapters(adapted)(image), said, atol=1e-4)
    with pytest.raises(InputError, match="without groups"):
        insert_adapters(nn.Sequential(nn.Conv2d(4, 4, 3, groups=2)), ["0"], rank=2, alpha=4.0)
