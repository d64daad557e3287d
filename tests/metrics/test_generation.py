"""Metrics of generated samples for known distributions."""

from __future__ import annotations

import pytest
import torch

from kdrun.metrics.generation import frechet_distance, manifold_recall


def test_frechet_distance_of_known_gaussians() -> None:
    rows = torch.randn(4000, 3, generator=torch.Generator().manual_seed(0)).double()
    assert abs(frechet_distance(rows, rows)) < 1e-8
    assert frechet_distance(rows + 2, rows) == pytest.approx(12.0)
    # Of commuting covariances: the squared differences of the standard deviations.
    expected = rows.var(0).sqrt().square().sum() * (3 - 1) ** 2 + (2 * rows.mean(0)).square().sum()
    assert frechet_distance(3 * rows, rows) == pytest.approx(float(expected), rel=0.01)


def test_recall_misses_what_is_not_covered() -> None:
    rows = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
    assert manifold_recall(rows, rows) == 1.0
    assert manifold_recall(rows, rows + 100) == 0.0
