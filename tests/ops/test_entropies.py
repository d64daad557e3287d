"""Entropies of predictions, against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from kdrun import ops
from support.arrays import soft
from support.tensors import rows

STUDENT, TEACHER = rows(5, 4), rows(5, 4, seed=1)


def test_entropy_is_that_of_scipy_and_largest_for_the_uniform() -> None:
    np.testing.assert_allclose(ops.prediction_entropy(STUDENT, reduction="none"), entropy(soft(STUDENT), axis=1))
    assert ops.prediction_entropy(torch.zeros(2, 8)).item() == pytest.approx(math.log(8))
    sure = torch.eye(3, requires_grad=True)
    value = ops.prediction_entropy(sure, given="probabilities")
    value.backward()
    assert value.item() == 0.0
    assert torch.isfinite(sure.grad).all()


def test_information_maximization_is_lowest_for_sure_and_varied_predictions() -> None:
    assert ops.information_maximization(200 * torch.eye(4)).item() == pytest.approx(-math.log(4), abs=1e-5)
    assert ops.information_maximization(torch.zeros(3, 4)).item() == pytest.approx(0.0, abs=1e-6)
    p = soft(STUDENT)
    value = ops.information_maximization(STUDENT, entropy_weight=2.0, diversity_weight=0.5).item()
    assert value == pytest.approx(2 * entropy(p, axis=1).mean() - 0.5 * entropy(p.mean(0)))
    inside = -(p * np.log(p + 1e-2)).sum(1).mean() + (p.mean(0) * np.log(p.mean(0) + 1e-2)).sum()
    assert ops.information_maximization(STUDENT, eps=1e-2).item() == pytest.approx(inside)
