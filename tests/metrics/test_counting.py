"""Counts as sums of density maps."""

from __future__ import annotations

import math

import pytest
import torch

from kdrun.metrics.counting import count_mae, count_rmse


def test_counts_are_sums_of_maps() -> None:
    maps, count = torch.full((2, 1, 2, 2), 0.5), torch.tensor([5.0, 1.0])
    assert count_mae(maps, count) == pytest.approx(2.0)
    assert count_rmse(maps, count) == pytest.approx(math.sqrt(5.0))
