"""Metrics of forgetting and of what stays useful."""

from __future__ import annotations

import pytest
import torch

from kdrun.metrics.unlearning import answer_probability, ks_forget_quality, model_utility, valid_mass


def test_metrics_of_forgetting() -> None:
    logits = torch.tensor([[0.5, 0.3, 0.1, 0.1], [0.1, 0.1, 0.4, 0.4]]).log()
    assert valid_mass(logits, torch.tensor([[0, 1], [0, 3]])) == pytest.approx(0.65)
    assert answer_probability(torch.tensor([0.5, 0.1]).log()) == pytest.approx(0.3)
    generator = torch.Generator().manual_seed(0)
    one, two = torch.rand(200, generator=generator), torch.rand(200, generator=generator)
    assert ks_forget_quality(one, one) == 1.0
    assert ks_forget_quality(one, two + 0.5) < 1e-6
    assert ks_forget_quality(one, two) == pytest.approx(ks_forget_quality(1 / one, 1 / two))


def test_utility_is_a_harmonic_mean_over_data_sets_and_measures() -> None:
    part = torch.tensor([0, 0, 0, 1])
    full = torch.ones(4)
    assert model_utility(full, full, torch.zeros(4), part) == pytest.approx(1.0)
    assert model_utility(full, full, torch.tensor([0.0, 0.0, 0.0, 2.0]), part) == 0.0
    probability = torch.tensor([0.2, 0.5, 0.8, 0.5])  # means of 0.5, whatever the data sets' sizes
    assert model_utility(probability, full, torch.zeros(4), part) == pytest.approx(6 / (2 / 0.5 + 4))
