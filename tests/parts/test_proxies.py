"""Scores of networks without training."""

from __future__ import annotations

import pytest
import torch

from kdrun.data.dataset import MemoryDataset
from kdrun.models.building import build
from kdrun.parts import proxies
from support.contexts import stage_context
from support.data import dataset


def data() -> MemoryDataset:
    generator = torch.Generator().manual_seed(0)
    image, label = torch.randn(16, 1, 8, 8, generator=generator), torch.arange(16) % 3
    return dataset(3, image=image, label=label)


def network(**changes) -> torch.nn.Module:
    spec = {"model": "staged_network", "depths": [2, 1], "kernels": [3, 3], "widths": [4, 8], "skip": False}
    return build({**spec, "num_classes": 3, "in_channels": 1, **changes}, seed=(0,))


def test_proxies_have_their_known_properties() -> None:
    context = stage_context()
    assert proxies.parameter_total(network(), data()) == sum(p.numel() for p in network().parameters())
    # Of a network of one homogeneous path, Σ w · ∂R/∂w is R times the number of layers.
    model = network(depths=[1, 1]).eval()
    flow = float(proxies.synflow(model, data(), context=context).exp())
    with torch.no_grad():
        output = float(model(torch.ones(1, 1, 8, 8, dtype=torch.float64)).sum())
        bias = float(model.head.bias.sum())
    assert flow == pytest.approx(3 * (output - bias), rel=1e-3)
    assert proxies.snip(network(), data(), context=context) > 0
    # Equal images share every unit: the kernel is singular.
    same = data().with_columns({"image": torch.ones(16, 1, 8, 8)})
    assert proxies.naswot(network(), same, context=context) < proxies.naswot(network(), data(), context=context)
