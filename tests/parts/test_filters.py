"""Filters that track scenes of point targets."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from kdrun.data.dataset import DataInfo, MemoryDataset
from kdrun.errors import InputError
from kdrun.metrics.sets import gospa
from kdrun.parts.assignments import best_assignments
from kdrun.parts.filters import existence_threshold, gm_phd, pmb
from support.scenes import CLEAR, split


def test_best_assignments_come_in_order_and_all_of_them() -> None:
    cost = np.random.default_rng(0).random((3, 4))
    cost[1, 2] = 1e9
    found = list(best_assignments(cost, 100))
    allowed = [p for p in itertools.permutations(range(4), 3) if p[1] != 2]
    assert [tuple(columns) for _, columns in found] == sorted(allowed, key=lambda p: cost[range(3), p].sum())
    assert [total for total, _ in found] == pytest.approx(sorted(cost[range(3), p].sum() for p in allowed))
    assert len(list(best_assignments(cost, 2))) == 2


@pytest.mark.parametrize("solve", [gm_phd, pmb])
def test_filters_follow_a_clear_scene(solve) -> None:
    data = split(60, **CLEAR)
    rows = data.rows()
    found = solve(data, targets=6)
    assert found.shape == (60, 6, 3)
    # Better than the last measurements, whose error is that of the noise: mean distance 0.05 sqrt(pi/2) each.
    error = gospa(found, rows["targets"], rows["alive"])
    assert error["total"] < 1.1 * 0.05 * math.sqrt(math.pi / 2) * rows["alive"].sum(1).double().mean()
    assert error["false"] == 0


@pytest.mark.parametrize("solve", [gm_phd, pmb])
def test_a_single_measurement_is_judged_by_bayes(solve) -> None:
    data = split(400, steps=1, interval=1e-6, initial=0.5, births=0.0, deaths=0.0, detection=0.7, clutter=1.0).rows()
    one = (data["ids"] > -2).sum(1) == 1
    assert one.any()
    number = int(one.nonzero()[0])
    scenes = split(400, steps=1, interval=1e-6, initial=0.5, births=0.0, deaths=0.0, detection=0.7, clutter=1.0)
    found = solve(scenes.select(torch.tensor([number])), targets=6)[0]
    assert found[0, 2].item() == pytest.approx(0.35 / (0.35 + 1.0), abs=1e-4)
    assert torch.allclose(found[0, :2], data["measurements"][number, 0, :2])


def test_existence_means_what_it_says() -> None:
    data = split(120)
    rows = data.rows()
    found = pmb(data, targets=6, hypotheses=10)
    distance = torch.cdist(found[..., :2], rows["targets"]).masked_fill(~rows["alive"][:, None], 99.0).amin(2)
    sure = found[..., 2] > 0.9
    assert (distance[sure] < 2).double().mean() > 0.9
    unsure = (found[..., 2] > 0.05) & (found[..., 2] < 0.3)
    assert (distance[unsure] < 2).double().mean() < 0.5


def test_the_threshold_is_the_best_of_the_candidates() -> None:
    data = split(20)
    rows = data.rows()
    right = torch.cat([rows["targets"], torch.where(rows["alive"], 0.75, 0.65)[..., None]], 2)
    assert existence_threshold(right, data).item() == pytest.approx(0.7)
    unknown = MemoryDataset(rows, DataInfo({}))
    with pytest.raises(InputError, match="by which model"):
        pmb(unknown, targets=6)
