"""Networks for small images: maps before and behind the last rectifier."""

from __future__ import annotations

import torch

from kdrun.models.taps import tap
from support.models import make


def test_a_map_before_the_relu_is_the_map_without_its_negative_part() -> None:
    network = make("cifar_resnet", depth=8)
    after, before = tap(network, "map_2"), tap(network, "map_2_pre")
    network(torch.randn(2, 3, 32, 32))
    assert torch.equal(after.take(), before.take().relu())
