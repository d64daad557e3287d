"""Scenes of point targets: counts, motion, measurements, births."""

from __future__ import annotations

import math

import pytest
import torch

from kdrun.data.scenes import PointTargetScenes
from kdrun.errors import DataError
from support.scenes import CLEAR, SMALL, split


def test_rows_are_as_promised() -> None:
    part = PointTargetScenes(**SMALL, train=10)
    rows = part.load()["train"].rows()
    for name, column in part.info()["train"].columns.items():
        assert (rows[name].shape[1:], rows[name].dtype) == (column.shape, column.dtype)
    filled = rows["ids"] == -2
    assert torch.equal(filled, rows["measurements"][..., 2] < 0)
    assert (rows["measurements"][filled][:, :2] == 0).all()
    assert ((~filled).sum(1) >= 1).all()
    assert rows["alive"].any(1).all()
    times = torch.where(filled, 9.0, rows["measurements"][..., 2])
    assert (times.diff(dim=1) >= 0).all()


def test_a_row_depends_on_its_number_alone() -> None:
    data = split(50)
    whole = data.rows()
    for batch in (data.rows(torch.tensor([17, 3])), data.select(torch.tensor([40, 17, 3])).rows(torch.tensor([1, 2]))):
        assert batch["index"].tolist() == [17, 3]
        for name, column in whole.items():
            assert torch.equal(batch[name], column[[17, 3]])
    late = next(iter(data.batches(8, start=3)))
    assert torch.equal(late["measurements"], whole["measurements"][24:32])
    assert not torch.equal(split(50, seed=1).rows()["targets"], whole["targets"])
    assert not torch.equal(PointTargetScenes(**SMALL).load()["valid"].rows()["targets"][:50], whole["targets"])


def test_a_stream_is_as_long_as_asked_and_costs_nothing_unread() -> None:
    stream = PointTargetScenes(**SMALL, train=10**9).load()["train"]
    assert len(stream) == stream.index_bound() == 10**9
    assert next(iter(stream.batches(2, start=10**8)))["index"].tolist() == [2 * 10**8, 2 * 10**8 + 1]
    kept = stream.select(torch.tensor([5, 7])).with_columns({"weight": torch.tensor([1.0, 2.0])})
    assert kept.rows(torch.tensor([1]))["weight"].tolist() == [2.0]
    assert kept.info.size == 2


def test_counts_have_the_asked_means() -> None:
    rows = split(
        4000, initial=0.7, births=0.0, deaths=0.0, detection=0.6, clutter=2.0, velocity_variance=0.0, process_noise=0.0
    ).rows()
    targets = rows["alive"].sum(1).double()
    assert targets.min() >= 1
    # One target at least, and one measurement at least, which clutter nearly always gives.
    assert targets.mean().item() == pytest.approx(0.7 / (1 - math.exp(-0.7)), abs=0.05)
    clutter = (rows["ids"] == -1).sum(1).double()
    assert clutter.mean().item() == pytest.approx(10.0, abs=0.2)
    assert clutter.var().item() == pytest.approx(10.0, rel=0.1)
    real = (rows["ids"] >= 0).sum().item()
    assert real / (5 * targets.sum().item()) == pytest.approx(0.6, abs=0.02)


def test_targets_move_straight_without_process_noise_and_spread_with_it() -> None:
    still = {**CLEAR, "measurement_noise": 0.0, "initial": 0.5}
    rows = split(300, **{**still, "process_noise": 0.0}).rows()
    one = (rows["ids"] == 0).sum(1) == 5
    path = rows["measurements"][one][rows["ids"][one] == 0].view(-1, 5, 3)[..., :2]
    assert len(path) > 100
    assert path.diff(n=2, dim=1).abs().max() < 1e-4
    speed = path.diff(dim=1)[:, 0] / 0.2
    assert speed.var().item() == pytest.approx(3.0, rel=0.25)
    rough = split(300, **{**still, "process_noise": 9.0}).rows()
    one = (rough["ids"] == 0).sum(1) == 5
    bend = rough["measurements"][one][rough["ids"][one] == 0].view(-1, 5, 3)[..., :2].diff(n=2, dim=1)
    # Second differences of an integrated Wiener process of intensity q over dt have variance 2/3 q dt³.
    assert bend.var().item() == pytest.approx(2 / 3 * 9.0 * 0.2**3, rel=0.25)


def test_the_last_measurements_are_where_targets_are() -> None:
    rows = split(100, **{**CLEAR, "measurement_noise": 0.0}).rows()
    last = rows["measurements"][..., 2] == 4
    assert torch.equal(last.sum(1), rows["alive"].sum(1))
    for measured, now, targets, alive in zip(rows["measurements"], last, rows["targets"], rows["alive"], strict=True):
        assert torch.allclose(measured[now][:, :2].sort(0).values, targets[alive].sort(0).values)


def test_births_stop_two_steps_before_the_end_and_never_pass_the_limit() -> None:
    busy = split(50, steps=4, births=50.0, clutter=0.0, detection=1.0, deaths=0.0, velocity_variance=0.01).rows()
    ids, times = busy["ids"], busy["measurements"][..., 2]
    for now, before in zip(ids, times, strict=True):
        assert set(now[before >= 2].tolist()) <= set(now[before == 1].tolist())
    assert max((times == t).sum(1).max().item() for t in range(4)) == 6
    with pytest.raises(DataError, match="after 1000 draws"):
        split(1, steps=2, initial=60.0, detection=1.0, max_measurements=3).rows()
