"""Scenes of point targets, filters that know their model, the distance of sets and a transformer that reads them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from kdrun.data.dataset import DataInfo, MemoryDataset
from kdrun.data.scenes import PointTargetScenes
from kdrun.errors import DataError, InputError
from kdrun.metrics.sets import gospa
from kdrun.models.building import build
from kdrun.parts.filters import best_assignments, existence_threshold, gm_phd, pmb

SMALL = {
    "steps": 5,
    "interval": 0.2,
    "initial": 2.0,
    "births": 0.1,
    "clutter": 3.0,
    "max_targets": 6,
    "max_measurements": 48,
}
CLEAR = {
    "births": 0.0,
    "deaths": 0.0,
    "detection": 1.0,
    "clutter": 0.0,
    "measurement_noise": 0.05,
    "process_noise": 0.1,
}
THERE = torch.ones(1, 2, dtype=torch.bool)


def split(count: int = 200, **options):
    return PointTargetScenes(**{**SMALL, "test": count, **options}).load()["test"]


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


def test_gospa_of_equal_missing_false_and_far() -> None:
    targets = torch.tensor([[[0.0, 0.0], [10.0, 0.0]]])
    sure = torch.tensor([[[0.0, 0.0, 1.0], [10.0, 0.5, 1.0]]])
    assert gospa(sure, targets, THERE) == {"total": 0.5, "localization": 0.5, "missed": 0.0, "false": 0.0}
    assert gospa(sure, targets, THERE, at=1.0) == {"total": 2.0, "localization": 0.0, "missed": 2.0, "false": 0.0}
    assert gospa(sure, targets, THERE & False) == {"total": 2.0, "localization": 0.0, "missed": 0.0, "false": 2.0}
    far = torch.tensor([[[0.0, 5.0, 0.4], [10.0, 0.5, 0.8]]])
    assert gospa(far, targets, THERE, torch.tensor(0.3)) == {
        "total": 2.5,
        "localization": 0.5,
        "missed": 1.0,
        "false": 1.0,
    }
    assert gospa(far, targets, THERE)["total"] == 1.5
    assert gospa(far, targets, THERE, at=0.3, order=2.0)["total"] == pytest.approx(math.sqrt(4 + 0.25))
    with pytest.raises(InputError, match="do not fit"):
        gospa(targets, targets, THERE)


def test_gospa_is_symmetric_and_its_parts_add_up() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(40, 4, 2, generator=generator) for _ in range(2))
    some, others = (torch.rand(40, 4, generator=generator) < 0.6 for _ in range(2))
    there = gospa(torch.cat([first, some[..., None].float()], 2), second, others)
    back = gospa(torch.cat([second, others[..., None].float()], 2), first, some)
    assert there["total"] == pytest.approx(back["total"])
    assert there["missed"] == pytest.approx(back["false"])
    assert there["total"] == pytest.approx(there["localization"] + there["missed"] + there["false"])


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


SPEC = {
    "model": "set_prediction_transformer",
    "times": 5,
    "dim": 16,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "heads": 2,
    "hidden": 24,
    "queries": 6,
    "dropout": 0.0,
}


@pytest.mark.parametrize("content", ["place", "memory"])
def test_the_transformer_sees_a_set_and_not_what_fills_up(content) -> None:
    module = build({**SPEC, "query_content": content}, seed=(0,)).eval()
    rows = split(8).rows()["measurements"]
    first = module(rows)
    assert first["states"].shape == (8, 3, 6, 2)
    assert first["memory"].shape == (8, 48, 16)
    assert first["states"].abs().max() <= 10
    count = (rows[..., 2] >= 0).sum(1)
    enough = count >= 6
    order = torch.arange(48).expand(8, -1).clone()
    for row, n in zip(order, count.tolist(), strict=True):
        row[:n] = row[:n].flip(0)
    turned = module(rows.gather(1, order[..., None].expand(-1, -1, 3)))
    assert torch.allclose(first["estimates"][enough], turned["estimates"][enough], atol=1e-5)
    junk = torch.where(rows[..., 2:] < 0, torch.tensor([3.0, 3.0, 2.0]), rows)
    masked = module(junk, rows[..., 2] >= 0)
    assert torch.allclose(first["estimates"][enough], masked["estimates"][enough], atol=1e-5)
    alone = module(rows[:1])
    assert torch.allclose(alone["estimates"], first["estimates"][:1], atol=1e-5)
    with pytest.raises(InputError, match="6 queries"):
        module(rows[:, :5])


def test_references_carry_no_gradient() -> None:
    module = build(SPEC, seed=(0,))
    rows = split(4).rows()["measurements"]
    module(rows)["states"][:, -1].sum().backward()
    first, last = module.state_heads[0], module.state_heads[1]
    for head in (first, module.state_heads[-1]):  # their states enter later ones as detached references
        assert all(p.grad is None or not p.grad.any() for p in head.parameters())
    assert last[0].weight.grad.abs().sum() > 0
    assert module.encoder[0].attention.query.weight.grad.abs().sum() > 0
    assert module.time.weight.grad.abs().sum() > 0


def test_the_encoder_learns_through_queries_made_of_its_features() -> None:
    rows = split(4).rows()["measurements"]
    reached = {}
    for content in ("place", "memory"):
        module = build({**SPEC, "query_content": content}, seed=(0,))
        module(rows)["states"][:, -1].sum().backward()
        reached[content] = module.select[0].weight.grad
    assert reached["place"] is None or not reached["place"].any()
    assert reached["memory"].any()
