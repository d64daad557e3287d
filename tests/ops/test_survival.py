"""Discrete-time survival: likelihood, risk, bins."""

from __future__ import annotations

import math

import pytest
import torch

from kdrun.ops.survival import discrete_survival_nll, discrete_survival_risk, survival_curve, time_bins


def test_likelihood_of_constant_hazards_is_geometric() -> None:
    """With hazard h, an event in interval b has chance (1 - h)^b h, and outliving it (1 - h)^(b + 1)."""
    hazard, bins = 0.3, torch.tensor([0, 2, 4, 0, 4])
    event = torch.tensor([1, 1, 1, 0, 0])
    hazards = torch.full((5, 5), hazard)
    costs = [
        discrete_survival_nll(hazards[i : i + 1], bins[i : i + 1], event[i : i + 1], given="hazards", alpha=0.0).item()
        for i in range(5)
    ]
    expected = [-math.log(0.7**b * 0.3) for b in (0, 2, 4)] + [-math.log(0.7 ** (b + 1)) for b in (0, 4)]
    assert costs == pytest.approx(expected, rel=1e-5)
    logits = torch.full((5, 5), math.log(0.3 / 0.7))
    assert discrete_survival_nll(logits, bins, event, alpha=0.0).item() == pytest.approx(sum(expected) / 5, rel=1e-5)


def test_alpha_weighs_the_censored_only() -> None:
    logits, bins = torch.randn(2, 4), torch.tensor([1, 2])
    for event, shares in (((1, 1), (1.0, 1.0, 1.0)), ((0, 0), (1.0, 0.5, 0.0))):
        whole = discrete_survival_nll(logits, bins, torch.tensor(event), alpha=0.0).item()
        values = [discrete_survival_nll(logits, bins, torch.tensor(event), alpha=a).item() for a in (0.0, 0.5, 1.0)]
        assert values == pytest.approx([share * whole for share in shares], abs=1e-7)


def test_every_chance_sums_to_one() -> None:
    """Events of all intervals and being censored in the last one are all that can happen."""
    logits = torch.randn(1, 6, dtype=torch.float64)
    events = [discrete_survival_nll(logits, torch.tensor([b]), torch.tensor([1])).item() for b in range(6)]
    last = discrete_survival_nll(logits, torch.tensor([5]), torch.tensor([0]), alpha=0.0).item()
    assert sum(math.exp(-cost) for cost in [*events, last]) == pytest.approx(1.0, abs=1e-6)


def test_likelihood_stays_finite_with_gradient_at_sure_and_wrong_hazards() -> None:
    logits = torch.tensor([[60.0, -60.0, 0.0]], requires_grad=True)
    cost = discrete_survival_nll(logits, torch.tensor([1]), torch.tensor([1]))
    cost.backward()
    assert cost.item() == pytest.approx(-2 * math.log(1e-7), rel=1e-4)
    assert torch.isfinite(logits.grad).all()


def test_only_intervals_up_to_the_time_get_a_gradient() -> None:
    logits = torch.zeros(1, 5, requires_grad=True)
    discrete_survival_nll(logits, torch.tensor([2]), torch.tensor([1])).backward()
    assert logits.grad[0].tolist() == pytest.approx([0.5, 0.5, -0.5, 0.0, 0.0])


def test_rows_must_agree() -> None:
    with pytest.raises(ValueError, match="logits and event"):
        discrete_survival_nll(torch.zeros(2, 3), torch.zeros(2).long(), torch.zeros(1))


def test_risk_runs_from_certain_survival_to_certain_death_and_grows_with_hazards() -> None:
    certain = torch.tensor([[-50.0] * 4, [50.0] * 4, [0.0] * 4])
    assert discrete_survival_risk(certain).tolist() == pytest.approx([-4.0, 0.0, -0.9375])
    logits = torch.randn(7, 5)
    later = logits.clone()
    later[:, 2] += 1.0
    assert (discrete_survival_risk(later) > discrete_survival_risk(logits)).all()
    assert survival_curve(torch.tensor([[0.5, 0.5]])).tolist() == [[0.5, 0.25]]


def test_bins_are_closed_at_the_left() -> None:
    times = torch.tensor([0.0, 364.9, 365.0, 729.9, 730.0, 1e9])
    assert time_bins(times, cutoffs=[365.0, 730.0]).tolist() == [0, 0, 1, 1, 2, 2]
    assert time_bins(times, cutoffs=[]).tolist() == [0] * 6
    with pytest.raises(ValueError, match="ascend"):
        time_bins(times, cutoffs=[2.0, 2.0])
