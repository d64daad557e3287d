"""Concordance of risks and times, against scikit-survival."""

from __future__ import annotations

import math

import pytest
import torch

from kdrun.metrics.survival import concordance_gain, concordance_index, discrete_concordance_index


def test_concordance_counts_pairs_whose_earlier_time_is_an_event() -> None:
    time, event = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1, 0, 1])
    assert concordance_index(torch.tensor([3.0, 2.0, 1.0]), time, event) == 1.0
    assert concordance_index(torch.tensor([1.0, 2.0, 3.0]), time, event) == 0.0
    assert concordance_index(torch.tensor([2.0, 5.0, 1.0]), time, event) == 0.5  # 2 before 3 is not known
    assert concordance_index(torch.zeros(3), time, event) == 0.5
    assert math.isnan(concordance_index(torch.zeros(3), torch.ones(3), torch.ones(3)))


def test_concordance_agrees_with_scikit_survival_and_is_rank_based() -> None:
    metrics = pytest.importorskip("sksurv.metrics")
    generator = torch.Generator().manual_seed(0)
    time = torch.rand(200, generator=generator)
    event = torch.rand(200, generator=generator) < 0.6
    risk = (5 * torch.randn(200, generator=generator) - 3 * time).round()  # with ties
    expected = metrics.concordance_index_censored(event.numpy(), time.numpy(), risk.numpy())[0]
    assert concordance_index(risk, time, event) == pytest.approx(expected, abs=1e-12)
    assert concordance_index(risk.exp(), time * 7 + 1, event) == pytest.approx(expected, abs=1e-12)
    assert concordance_index(-risk, time, event) == pytest.approx(1 - expected, abs=1e-12)
    assert concordance_gain(risk, -risk, time, event) == pytest.approx(2 * expected - 1, abs=1e-12)
    logits = risk[:, None].expand(-1, 3) / 10  # risk grows with hazards
    assert discrete_concordance_index(logits, time, event) == pytest.approx(expected, abs=1e-12)


def test_who_is_censored_at_the_time_of_an_event_lived_longer() -> None:
    time, event = torch.tensor([1.0, 1.0, 1.0, 2.0]), torch.tensor([1, 0, 1, 0])
    # The two events come before both censored rows: four pairs; the events among themselves are none.
    assert concordance_index(torch.tensor([2.0, 3.0, 1.0, 0.0]), time, event) == 0.5
    assert concordance_index(torch.tensor([2.0, 2.0, 1.0, 1.0]), time, event) == 0.5  # a half, one, none, a half
    assert concordance_index(torch.tensor([5.0, 1.0, 4.0, 0.0]), time, event) == 1.0


def test_concordance_with_shared_times_agrees_with_scikit_survival() -> None:
    metrics = pytest.importorskip("sksurv.metrics")
    generator = torch.Generator().manual_seed(0)
    time = torch.randint(1, 9, (80,), generator=generator).float()
    event = torch.rand(80, generator=generator) < 0.6
    risk = torch.randint(0, 20, (80,), generator=generator).float()
    expected = metrics.concordance_index_censored(event.numpy(), time.numpy(), risk.numpy())[0]
    assert concordance_index(risk, time, event) == pytest.approx(expected, abs=1e-12)


def test_infinite_risks_tie_and_are_ordered() -> None:
    time, event = torch.tensor([1.0, 2.0, 3.0]), torch.ones(3)
    assert concordance_index(torch.tensor([math.inf, math.inf, 0.0]), time, event) == pytest.approx(2.5 / 3)
