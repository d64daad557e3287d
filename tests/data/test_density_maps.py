"""Density maps of heads: sums, integrals, widths."""

from __future__ import annotations

import math

import pytest
import torch

from kdrun.data.density_maps import adaptive_deviation, points_to_density


def test_density_sums_to_the_number_of_heads() -> None:
    points = torch.tensor([[3.0, 5.0], [40.0, 40.0], [63.9, 0.1]])
    found = points_to_density(points, 64, 96, torch.full((3,), 2.0))
    assert found.shape == (1, 8, 12)
    assert found.sum().item() == pytest.approx(3.0, abs=1e-5)
    assert points_to_density(torch.zeros(0, 2), 64, 64, torch.zeros(0)).sum() == 0


def test_a_cell_holds_the_integral_of_the_gaussian() -> None:
    found = points_to_density(torch.tensor([[32.0, 36.0]]), 64, 64, torch.tensor([4.0]))[0]
    across = math.erf(8 / (4 * math.sqrt(2))) / 2  # from the mean, an edge of cells, to two deviations
    down = math.erf(4 / (4 * math.sqrt(2)))  # one deviation to both sides
    assert found[4, 4].item() == pytest.approx(across * down, abs=1e-5)
    torch.testing.assert_close(found, found.flip(1))


def test_deviation_grows_with_the_distance_of_the_nearest() -> None:
    points = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 20.0], [0.0, 30.0], [500.0, 0.0]])
    assert adaptive_deviation(points, factor=0.1, alone=7.0)[0].item() == pytest.approx(6.0)
    torch.testing.assert_close(
        adaptive_deviation(3 * points, factor=0.1, alone=7.0), 3 * adaptive_deviation(points, factor=0.1, alone=7.0)
    )
    assert adaptive_deviation(points[:1], factor=0.1, alone=7.0).tolist() == [7.0]
    assert adaptive_deviation(points[:2], factor=0.1, alone=7.0).tolist() == pytest.approx([3.0, 3.0])
