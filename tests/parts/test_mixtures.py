"""Mixtures of sources: rows, learners, transport, ascent."""

from __future__ import annotations

import math

import pytest
import torch

from kdrun.errors import InputError
from kdrun.metrics.selection import gradient_agreement
from kdrun.ops.simplex import simplex_grid
from kdrun.parts.learners import mixture_accuracy
from kdrun.parts.mixtures import mixture_ascent, mixture_rows, mixture_transport, source_mixture
from support.data import corners
from support.tensors import generator


def test_mixtures_have_the_asked_shares() -> None:
    data = corners()
    mixed = source_mixture(data, torch.tensor([0.5, 0.295, 0.205]), size=101, generator=generator())
    assert torch.bincount(mixed.rows()["source"]).tolist() == [50, 30, 21]  # 50.5, 29.8, 20.7: largest remainders
    rows = mixture_rows(data, simplex_grid(sources=3, step=0.5), size=10, repeats=2, generator=generator())
    assert rows.shape == (2, 6, 10)
    assert not torch.equal(rows[0], rows[1])
    sources = data.rows()["source"][rows]
    assert (sources[:, 0] == 2).all()
    with pytest.raises(InputError, match="sum to 1"):
        source_mixture(data, torch.tensor([0.5, 0.6, 0.2]), size=10, generator=generator())
    with pytest.raises(InputError, match="do not cover"):
        source_mixture(data, shares=[0.5, 0.5], size=10, generator=generator())


def test_a_learner_is_as_good_as_its_mixture() -> None:
    data, target = corners(), corners(90, seed=1)
    cells = torch.tensor([[1 / 3, 1 / 3, 1 / 3], [0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])
    rows = mixture_rows(data, cells, size=60, repeats=2, generator=generator())
    for learner in ("logistic_regression", "ridge", "nearest_mean"):
        found = mixture_accuracy(rows, data, target, learner=learner, generator=generator())
        assert found[0] > 0.9
        assert 0.55 < found[1] < 0.7
        assert math.isclose(found[2], 1 / 3, abs_tol=1e-6)
    both = mixture_accuracy(rows, data, target, data, generator=generator())
    assert torch.equal(both[0], mixture_accuracy(rows, data, target, generator=generator()))
    with pytest.raises(InputError, match="learner 'ridge'"):
        mixture_accuracy(rows, data, target, learner="ridge", options={"rate": 1}, generator=generator())


def test_transport_is_least_at_the_targets_own_mixture_and_its_slopes_lead_there() -> None:
    pytest.importorskip("ot")
    data, target = corners(), corners(90, seed=1)
    features, other = data.rows()["image"], target.rows()["image"]
    grid = simplex_grid(sources=3, step=0.1)
    rows = mixture_rows(data, grid, size=60, repeats=1, generator=generator())
    found = mixture_transport(rows, data, features, target, other, sources=3, label_distance="means")
    best = grid[found["distance"].argmin()]
    assert (best - 1 / 3).abs().max() < 0.15
    assert gradient_agreement(found["gradient"], grid, found["distance"], step=0.1) > 0.9
    assert gradient_agreement(-found["gradient"], grid, found["distance"], step=0.1) < 0.1


def test_ascent_leaves_a_source_that_costs_and_stays_on_the_simplex() -> None:
    pytest.importorskip("ot")
    data, target = corners(), corners(90, seed=1)
    arguments = data, data.rows()["image"], target, target.rows()["image"]
    flat = torch.zeros(8, dtype=torch.float64)
    flat[1], flat[2] = 0.2, -0.2
    options = {"size": 80, "first_size": 20, "second_size": 40, "sources": 3, "rate": 0.1, "steps": 30, "decay": 1.0}
    found = mixture_ascent(flat, flat, *arguments, **options, label_distance="means", generator=generator())
    assert found["path"].shape == (31, 3)
    assert torch.allclose(found["path"].sum(1), torch.ones(31))
    # the slope is (0.2, -0.2, 0) at every size: 30 steps of 0.02, less what the face of the simplex stops
    assert found["proportions"][1] == 0
    assert found["proportions"][0] > found["proportions"][2] > 0
    nearer = torch.zeros(8, dtype=torch.float64)
    nearer[0] = -0.01  # accuracy falls with distance alone: uniform is best, and ascent stays near it
    near = mixture_ascent(nearer, nearer, *arguments, **options, label_distance="means", generator=generator())
    assert (near["proportions"] - 1 / 3).abs().max() < 0.1
