"""How near samples come to private rows."""

from __future__ import annotations

import pytest
import torch

from kdrun.metrics.leakage import feature_knn_distance


def test_the_nearest_private_row_is_of_the_class() -> None:
    features, reference = torch.tensor([[0.0], [0.0]]), torch.tensor([[0.1], [2.0]])
    labels = torch.tensor([0, 1])
    assert feature_knn_distance(features, labels, reference, labels) == pytest.approx((0.01 + 4.0) / 2)
