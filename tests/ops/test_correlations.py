"""Losses on correlations, against numpy and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr
from torch import Tensor

from kdrun import ops
from kdrun.ops.correlations import pearson_relation_loss
from support.arrays import soft
from support.tensors import rows


def test_pearson_of_one_row_needs_no_second() -> None:
    value = pearson_relation_loss(rows(1, 4), rows(1, 4), gamma=0.0)
    assert value.item() == pytest.approx(0.0, abs=1e-9)


STUDENT, TEACHER = rows(5, 4), rows(5, 4, seed=1)


def test_pearson_relations_against_scipy() -> None:
    s, t = soft(STUDENT, 2.0), soft(TEACHER, 2.0)
    inter = 1 - np.mean([pearsonr(s[i], t[i])[0] for i in range(5)])
    intra = 1 - np.mean([pearsonr(s[:, k], t[:, k])[0] for k in range(4)])
    value = ops.pearson_relation_loss(STUDENT, TEACHER, beta=2.0, gamma=3.0, temperature=2.0).item()
    assert value == pytest.approx(4 * (2 * inter + 3 * intra))


def test_channel_and_spatial_correlations_against_scipy() -> None:
    s, t = rows(2, 4, 3, 3), rows(2, 4, 3, 3, seed=1)
    pixels = [pearsonr(s[b, :, i, j], t[b, :, i, j])[0] for b in range(2) for i in range(3) for j in range(3)]
    assert ops.channel_correlation_loss(s, t).item() == pytest.approx(1 - np.mean(pixels))
    images = [pearsonr(s[b].sum(0).flatten(), t[b].sum(0).flatten())[0] for b in range(2)]
    assert ops.spatial_correlation_loss(s, t).item() == pytest.approx(1 - np.mean(images))
    torch.testing.assert_close(ops.spatial_correlation_loss(5 * s + 3, t), ops.spatial_correlation_loss(s, t))


def test_direction_covariance_against_numpy() -> None:
    def gram(z: Tensor) -> np.ndarray:
        unit = z.numpy() / np.linalg.norm(z.numpy(), axis=1, keepdims=True)
        return unit @ unit.T

    d = gram(STUDENT) - gram(TEACHER)
    inverse = np.linalg.inv(np.cov(d, rowvar=False) + 0.1 * np.eye(5))
    expected = np.mean([math.sqrt(row @ inverse @ row) for row in d])
    assert ops.direction_covariance_loss(STUDENT, TEACHER).item() == pytest.approx(expected)
    torch.testing.assert_close(
        ops.direction_covariance_loss(7 * STUDENT, TEACHER), ops.direction_covariance_loss(STUDENT, TEACHER)
    )
