"""Rendered and annotated crowds, density maps and the networks that count."""

from __future__ import annotations

import json

import pytest
import torch
from PIL import Image

from kdrun.data.crowds import AnnotatedCrowds, Crowds, density_map, nearest_deviation
from kdrun.engine.building import build
from kdrun.errors import DataError
from kdrun.step.taps import tap


def test_density_sums_to_the_number_of_heads() -> None:
    points = torch.tensor([[3.0, 5.0], [40.0, 40.0], [63.9, 0.1]])
    found = density_map(points, 64, torch.full((3,), 2.0))
    assert found.shape == (1, 8, 8)
    assert found.sum().item() == pytest.approx(3.0, abs=1e-4)
    assert found[0, 5, 5] > 0.1
    assert density_map(torch.zeros(0, 2), 64, torch.zeros(0)).sum() == 0


def test_deviation_grows_with_the_distance_of_the_nearest() -> None:
    points = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 20.0], [0.0, 30.0], [500.0, 0.0]])
    found = nearest_deviation(points, 0.1, 1000.0)
    assert found[0].item() == pytest.approx(6.0)
    assert nearest_deviation(points[:1], 0.1, 7.0).tolist() == [7.0]


def test_rendered_crowds_count_their_heads() -> None:
    data = Crowds(train=3, valid=1, test=2, heads=[5, 9])
    found = data.load()["train"].rows()
    assert found["image"].shape == (3, 3, 96, 96)
    assert torch.allclose(found["density"].sum((1, 2, 3)), found["count"], atol=1e-3)
    assert ((found["count"] >= 5) & (found["count"] <= 9)).all()
    again = Crowds(train=3, valid=1, test=2, heads=[5, 9]).load()["train"].rows()
    assert torch.equal(found["image"], again["image"])


def test_annotated_crowds(tmp_path) -> None:
    with pytest.raises(DataError, match=r"no pictures in .*expected .*\.jpg"):
        AnnotatedCrowds(root=str(tmp_path), size=64).load()
    for split in ("train", "valid", "test"):
        (tmp_path / split).mkdir()
        Image.new("RGB", (128, 64)).save(tmp_path / split / "a.jpg")
        (tmp_path / split / "a.json").write_text(json.dumps([[64, 32], [2, 2], [90, 60]]))
    row = AnnotatedCrowds(root=str(tmp_path), size=64).load()["train"].rows()
    assert row["count"].tolist() == [2.0], "one head lies outside the square that is cut"
    assert row["density"].sum().item() == pytest.approx(2.0, abs=1e-3)
    (tmp_path / "train" / "a.json").write_text("{}")
    with pytest.raises(DataError, match=r"should hold \[\[x, y\]"):
        AnnotatedCrowds(root=str(tmp_path), size=64).load()


def test_density_network_has_the_published_size_and_taps() -> None:
    with torch.device("meta"):
        whole = build({"model": "dilated_density_net", "in_channels": 3})
        quarter = build({"model": "dilated_density_net", "width_divisor": 4, "in_channels": 3})
    count = [sum(p.numel() for p in m.parameters()) / 1e6 for m in (whole, quarter)]
    assert count == [pytest.approx(16.26, abs=0.01), pytest.approx(1.02, abs=0.01)]
    small = build(
        {"model": "dilated_density_net", "widths": [4, 4, 8, 8], "convolutions": [1, 1, 1, 1], "in_channels": 3}
    )
    slots = [tap(small, f"tap_{i}") for i in range(6)]
    assert small(torch.zeros(1, 3, 32, 32)).shape == (1, 1, 4, 4)
    assert [s.take().shape[-1] for s in slots] == [32, 16, 8, 4, 4, 4]
