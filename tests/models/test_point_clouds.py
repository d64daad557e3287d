"""Networks of point clouds."""

from __future__ import annotations

import torch

from support.models import make
from support.tensors import generator

SMALL = {"first": [8, 8], "widths": [16], "hidden": [8], "num_classes": 3}
CLOUD = torch.randn(4, 20, 3, generator=generator())


def test_order_and_repetition_of_points_mean_nothing() -> None:
    for align in (True, False):
        network = make("pointnet", align=align, **SMALL).eval()
        answer = network(CLOUD)
        torch.testing.assert_close(network(CLOUD[:, torch.randperm(20)]), answer)
        torch.testing.assert_close(network(torch.cat([CLOUD, CLOUD[:, :7]], 1)), answer)


def test_alignment_begins_as_the_identity_and_learns() -> None:
    network = make("pointnet", align=True, dropout=0.0, **SMALL)
    for stage, size in zip(network.align, (3, 8), strict=True):
        x = torch.randn(4, size, 20)
        torch.testing.assert_close(stage(x), x)
    network(CLOUD).square().sum().backward()
    assert all(stage.map.weight.grad.abs().max() > 0 for stage in network.align)
