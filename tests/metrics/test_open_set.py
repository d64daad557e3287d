"""Metrics of adaptation to other classes."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from kdrun.metrics.open_set import h_score


def test_h_score_is_the_harmonic_mean_over_present_classes_and_unknown_rows() -> None:
    def sure(*classes: int) -> torch.Tensor:
        return 20 * F.one_hot(torch.tensor(classes), 3).float()

    logits = torch.cat([sure(0, 0, 0, 1, 2), torch.zeros(1, 3), sure(0)])
    label = torch.tensor([0, 0, 0, 1, 1, 3, 5])  # class 2 does not occur
    found = h_score(logits, label, per_class=True)
    assert found == pytest.approx({"known": 0.75, "unknown": 0.5, "h": 0.6, "class_0": 1.0, "class_1": 0.5})
    assert h_score(logits, label, threshold=1.0)["unknown"] == 0.0
    assert h_score(logits, label, threshold=1.0)["h"] == 0.0
    assert math.isnan(h_score(logits[:5], label[:5])["h"])


def test_entropy_is_measured_against_that_of_the_models_own_classes() -> None:
    even = torch.tensor([[0.0, 0.0, -30.0, -30.0]])  # ln 2 of ln 4: one half
    assert h_score(even, torch.tensor([4]), threshold=0.49)["unknown"] == 1.0
    assert h_score(even, torch.tensor([4]), threshold=0.51)["unknown"] == 0.0


def test_a_negative_label_is_unknown() -> None:
    logits = torch.cat([20 * torch.eye(2), torch.zeros(1, 2)])
    assert h_score(logits, torch.tensor([0, 1, -1])) == {"h": 1.0, "known": 1.0, "unknown": 1.0}
