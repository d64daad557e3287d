"""Scores of networks without training."""

from __future__ import annotations

import math

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


def linear() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3, bias=False)).double()


def rows(image: torch.Tensor) -> MemoryDataset:
    return dataset(3, image=image.double(), label=torch.arange(len(image)) % 3)


def test_curvature_along_the_gradient_is_that_of_finite_differences() -> None:
    batch, model = rows(data().column("image")), linear()
    weight = model[1].weight

    def slope(at: torch.Tensor) -> torch.Tensor:
        free = at.clone().requires_grad_(True)
        logits = batch.column("image").flatten(1) @ free.T
        return torch.autograd.grad(torch.nn.functional.cross_entropy(logits, batch.column("label")), free)[0]

    start = weight.detach()
    gradient = slope(start)
    bent = (slope(start + 1e-4 * gradient) - slope(start - 1e-4 * gradient)) / 2e-4
    found = proxies.grasp(model, batch, context=stage_context())
    assert float(found) == pytest.approx(float(-(start * bent).sum()), rel=1e-5)


@pytest.mark.parametrize("by_weight", [True, False])
def test_saliency_of_one_linear_map_is_that_of_its_logits(by_weight) -> None:
    batch, model = rows(data().column("image")), linear()
    with torch.no_grad():
        logits = model(batch.column("image"))
        gap = logits.softmax(1) - torch.nn.functional.one_hot(batch.column("label"), 3)
        expected = 0.5 * (logits * gap / len(batch)).square().mean(0).sum() * (64 if by_weight else 1)
    found = proxies.fisher(model, batch, by_weight=by_weight, context=stage_context())
    assert float(found) == pytest.approx(float(expected), rel=1e-6)


def test_saliency_sums_a_channel_over_its_places_before_it_is_squared() -> None:
    image = torch.ones(4, 1, 1, 1).expand(4, 1, 2, 2)
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 1, bias=False), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    pooled = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3, bias=False)).double()
    pooled[1].weight.data = model[0].weight.detach().double().view(3, 1).expand(3, 4) / 4
    found = proxies.fisher(model.double(), rows(image), by_weight=False, context=stage_context())
    same = proxies.fisher(pooled, rows(image), by_weight=False, context=stage_context())
    assert float(found) == pytest.approx(float(same), rel=1e-6)


def test_gradients_that_agree_score_low_and_uncorrelated_ones_best() -> None:
    class Squares(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return image.flatten(1).square() / 2  # the gradient at a row is the row itself

    eps, context = 1e-5, stage_context()
    apart = torch.tensor([[1.0, -1.0, 1.0, -1.0], [1.0, 1.0, -1.0, -1.0], [1.0, -1.0, -1.0, 1.0]])  # uncorrelated
    best = -3 * (math.log(1 + eps) + 1 / (1 + eps))
    assert float(proxies.jacob_cov(Squares(), rows(apart), context=context)) == pytest.approx(best)
    alike = float(proxies.jacob_cov(Squares(), rows(apart[:1].expand(3, 4)), context=context))
    worst = -(math.log(3 + eps) + 1 / (3 + eps)) - 2 * (math.log(eps) + 1 / eps)
    assert alike == pytest.approx(worst, rel=1e-4)
