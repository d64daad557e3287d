"""Rendered and annotated crowds, density maps, the networks that count and their metrics."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from kdrun.data import transforms
from kdrun.data.crowds import AnnotatedCrowds, Crowds
from kdrun.data.density_maps import adaptive_deviation, points_to_density
from kdrun.errors import DataError
from kdrun.metrics.counting import count_mae, count_rmse
from kdrun.models.building import build
from kdrun.step.taps import tap


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


def test_rendered_crowds_count_their_heads() -> None:
    options = {"train": 3, "valid": 1, "test": 2, "fewest": 5, "most": 9}
    found = Crowds(**options).load()["train"].rows()
    assert found["image"].shape == (3, 3, 96, 96)
    assert torch.allclose(found["density"].sum((1, 2, 3)), found["count"], atol=1e-3)
    assert ((found["count"] >= 5) & (found["count"] <= 9)).all()
    assert torch.equal(found["image"], Crowds(**options).load()["train"].rows()["image"])
    with pytest.raises(DataError, match="9 heads at least and 3 at most"):
        Crowds(fewest=9, most=3)


def test_annotated_crowds_from_json(tmp_path) -> None:
    options = {"root": str(tmp_path), "height": 64, "width": 64}
    with pytest.raises(DataError, match=r"no pictures for train in .*expected .*NAME\.jpg"):
        AnnotatedCrowds(**options).load()
    for split in ("train", "valid", "test"):
        (tmp_path / split).mkdir()
        Image.new("RGB", (128, 64)).save(tmp_path / split / "a.jpg")
        (tmp_path / split / "a.json").write_text(json.dumps([[64, 32], [2, 2], [200, 60]]))
    row = AnnotatedCrowds(**options).load()["train"].rows()
    assert row["count"].tolist() == [2.0], "one head lies outside the picture"
    assert row["density"].sum().item() == pytest.approx(2.0, abs=1e-3)
    assert row["density"][0, 0, 4:].sum() == pytest.approx(0.0, abs=0.1), "the picture fills the upper half alone"
    (tmp_path / "train" / "a.json").write_text("{}")
    with pytest.raises(DataError, match=r"are broken: expected \[\[x, y\]"):
        AnnotatedCrowds(**options).load()["train"].rows()
    (tmp_path / "train" / "a.json").unlink()
    with pytest.raises(DataError, match=r"the heads of .*a\.jpg are missing"):
        AnnotatedCrowds(**options).load()


def test_annotated_crowds_as_published(tmp_path) -> None:
    from scipy.io import savemat

    for split in ("train_data", "test_data"):
        (tmp_path / split / "images").mkdir(parents=True)
        (tmp_path / split / "ground_truth").mkdir()
        Image.new("RGB", (64, 64)).save(tmp_path / split / "images" / "IMG_1.jpg")
        location = np.zeros((1, 1), dtype=[("location", object), ("number", object)])
        location[0, 0] = (np.array([[10.0, 20.0], [30.0, 40.0]]), 2)
        info = np.empty((1, 1), dtype=object)
        info[0, 0] = location
        savemat(tmp_path / split / "ground_truth" / "GT_IMG_1.mat", {"image_info": info})
    found = AnnotatedCrowds(root=str(tmp_path), height=64, width=64, valid_share=0.0, deviation=1.0).load()["test"]
    row = found.rows()
    assert row["count"].tolist() == [2.0]
    assert row["density"][0, 0, 2, 1] > 0.4, "the head at x 10, y 20"


def test_a_window_keeps_images_and_maps_aligned() -> None:
    image = torch.arange(64.0 * 48).view(1, 1, 64, 48)
    batch = {"image": image, "density": torch.nn.functional.avg_pool2d(image, 8)}
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        cut = transforms.random_window(batch, columns=["density"], generator=generator)
        torch.testing.assert_close(torch.nn.functional.avg_pool2d(cut["image"], 8), cut["density"])
        assert 32 <= cut["image"].shape[2] <= 64
    with pytest.raises(DataError, match="do not divide"):
        transforms.random_window({**batch, "density": image[..., :7, :7]}, columns=["density"], generator=generator)


def test_a_flip_mirrors_maps_too() -> None:
    batch = {"image": torch.rand(2, 1, 8, 8), "density": torch.rand(2, 1, 2, 2)}
    found = transforms.random_horizontal_flip(
        batch, probability=1.0, columns=["density"], generator=torch.Generator().manual_seed(0)
    )
    assert torch.equal(found["density"], batch["density"].flip(3))


def test_density_network_has_the_published_size_and_taps() -> None:
    with torch.device("meta"):
        whole = build({"model": "dilated_density_net", "in_channels": 3})
        quarter = build({"model": "dilated_density_net", "width_divisor": 4, "in_channels": 3})
    count = [sum(p.numel() for p in m.parameters()) / 1e6 for m in (whole, quarter)]
    assert count == [pytest.approx(16.26, abs=0.01), pytest.approx(1.02, abs=0.01)]
    small = build(
        {"model": "dilated_density_net", "widths": [4, 4, 8, 8], "convolutions": [1, 1, 1, 1], "in_channels": 3}
    )
    slots = [tap(small, p) for p in ("stem", "pool_1", "pool_2", "pool_3", "back_1", "back_4")]
    assert small(torch.zeros(1, 3, 30, 32)).shape == (1, 1, 4, 4), "sizes are rounded up"
    assert [s.take().shape[-1] for s in slots] == [32, 16, 8, 4, 4, 4]


def test_counts_are_sums_of_maps() -> None:
    maps, count = torch.full((2, 1, 2, 2), 0.5), torch.tensor([5.0, 1.0])
    assert count_mae(maps, count) == pytest.approx(2.0)
    assert count_rmse(maps, count) == pytest.approx(math.sqrt(5.0))
