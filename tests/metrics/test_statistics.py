"""Weighted means and means of groups."""

from __future__ import annotations

import torch

from kdrun.metrics import statistics


def test_weighted_and_group_means() -> None:
    values = torch.tensor([1.0, 2.0, 6.0])
    assert statistics.weighted_mean(values, torch.tensor([0, 1, 3])) == 5.0
    assert statistics.group_means(values, torch.tensor([True, False, True])) == {"0": 2.0, "1": 3.5}
    assert statistics.minimum(values) == 1.0
