"""Scores in which every class counts alike."""

from __future__ import annotations

import math

import pytest
import torch

from kdrun import metrics
from support.tensors import rows


def test_every_class_counts_alike_whatever_its_rows() -> None:
    logits = torch.eye(3)[torch.tensor([0] * 98 + [1, 0] + [2])]
    label = torch.tensor([0] * 98 + [1, 1] + [2])
    assert metrics.mean_class_accuracy(logits, label) == pytest.approx((1 + 0.5 + 1) / 3)
    assert metrics.mean_class_accuracy(logits, label, average="harmonic") == pytest.approx(3 / (1 + 2 + 1))
    again = torch.arange(len(label)).repeat_interleave(torch.tensor([1] * 98 + [5, 5, 9]))
    assert metrics.mean_class_accuracy(logits[again], label[again]) == pytest.approx((1 + 0.5 + 1) / 3)


def test_covariances_are_compared_by_direction_alone() -> None:
    z, label = rows(60, 4), torch.arange(60) % 3
    cosine = metrics.class_covariance_cosine(z, label)
    moved = z * (1.0 + label[:, None]) + 7.0 * label[:, None]
    assert metrics.class_covariance_cosine(moved, label) == pytest.approx(cosine)
    assert 0 < cosine < 1
    assert metrics.class_covariance_cosine(torch.cat([z, z]), torch.arange(120) // 60) == pytest.approx(1.0)
    assert math.isnan(metrics.class_covariance_cosine(z, torch.zeros(60)))
