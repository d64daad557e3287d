"""Spaces, strategies and scores without training."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from kdrun.data.dataset import Column, DataInfo, MemoryDataset
from kdrun.errors import InputError
from kdrun.models.building import build
from kdrun.models.spaces import ChoiceSpace
from kdrun.parts import proxies
from kdrun.stages.search import _Capped, aging_evolution, random_search

CHOICES = {
    "depths": [[1, 2, 3], [1, 2, 3]],
    "kernels": [[1, 3], [1, 3]],
    "widths": [[4, 8], [16]],
    "skip": [True, False],
}


def a_space() -> ChoiceSpace:
    return ChoiceSpace(model={"model": "staged_network"}, choices=CHOICES)


def data() -> MemoryDataset:
    generator = torch.Generator().manual_seed(0)
    info = DataInfo({"image": Column((1, 8, 8)), "label": Column((), torch.int64)}, classes=3)
    image, label = torch.randn(16, 1, 8, 8, generator=generator), torch.arange(16) % 3
    return MemoryDataset({"image": image, "label": label}, info)


def test_a_mutation_changes_one_choice() -> None:
    space, generator = a_space(), torch.Generator().manual_seed(0)
    for _ in range(30):
        spec = space.sample(generator)
        changed = space.mutate(spec, generator)
        flat = [(v, w) for k in CHOICES for v, w in zip(_flat(spec[k]), _flat(changed[k]), strict=True)]
        assert sum(v != w for v, w in flat) == 1
        assert changed["widths"][1] == 16


def _flat(value):
    return value if isinstance(value, list) else [value]


def test_evolution_finds_the_best_of_a_smooth_score() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = []

    def evaluate(spec) -> float:
        scores.append(sum(spec["depths"]) + sum(spec["kernels"]) + spec["widths"][0] - spec["skip"])
        return scores[-1]

    aging_evolution(a_space(), evaluate, population=10, tournament=5, evaluations=80, generator=generator)
    assert len(scores) == 80
    assert max(scores) == 6 + 6 + 8
    assert sum(scores[40:]) > sum(scores[:40])


def test_random_search_tries_no_candidate_twice() -> None:
    seen = []
    random_search(
        a_space(), lambda spec: seen.append(spec) or 0.0, evaluations=40, generator=torch.Generator().manual_seed(0)
    )
    assert len(seen) == 40
    assert all(seen.count(spec) == 1 for spec in seen)


def test_what_is_too_large_is_not_proposed() -> None:
    sizes = {"num_classes": 3, "in_channels": 1}
    capped = _Capped(a_space(), 1500, sizes)
    generator = torch.Generator().manual_seed(0)
    assert all(capped.parameters(capped.sample(generator)) <= 1500 for _ in range(10))
    with pytest.raises(InputError, match="none has at most"):
        _Capped(a_space(), 1, sizes).sample(generator)


def network(**changes) -> torch.nn.Module:
    spec = {"model": "staged_network", "depths": [2, 1], "kernels": [3, 3], "widths": [4, 8], "skip": False}
    return build({**spec, "num_classes": 3, "in_channels": 1, **changes}, seed=(0,))


def test_proxies_have_their_known_properties() -> None:
    context = SimpleNamespace(device=torch.device("cpu"))
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
