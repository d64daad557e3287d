"""Point clouds: of solids made here, and from folders."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kdrun import data
from kdrun.data.point_clouds import SOLIDS, unit_sphere
from kdrun.errors import DataError

NAMES = list(SOLIDS)


def clouds(name: str, **options) -> torch.Tensor:
    still = {"points": 400, "per_class": 4, "stretch": 0.0, "tilt": 0.0, **options}
    rows = data.solids(**still).load()["train"].rows()
    return rows["points"][rows["label"] == NAMES.index(name)]


def test_points_lie_on_the_surface() -> None:
    radius = clouds("sphere").norm(dim=2)
    assert radius.std() < 0.06, "a sphere of many flat faces"
    box = clouds("box")
    height = box[:, :, 2]
    low, high = height.amin(1, keepdim=True), height.amax(1, keepdim=True)
    lids = ((height - low < 1e-3) | (high - height < 1e-3)).float().mean()
    side, tall = 0.7 * 2**0.5, 2.0
    assert lids.item() == pytest.approx(2 * side**2 / (2 * side**2 + 4 * side * tall), abs=0.04), (
        "uniform over the area"
    )


def test_clouds_are_centred_in_the_unit_sphere_and_split_by_seed() -> None:
    splits = data.solids(per_class=3, noise=0.1, occlusion=0.3, gradient=1.0).load()
    points = splits["train"].rows()["points"]
    torch.testing.assert_close(points.mean(1), torch.zeros(30, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(points.norm(dim=2).amax(1), torch.ones(30))
    again, other = (data.solids(per_class=3, noise=0.1, occlusion=0.3, gradient=1.0, seed=s).load() for s in (0, 1))
    assert torch.equal(again["train"].rows()["points"], points)
    assert not torch.equal(other["train"].rows()["points"], points)
    assert not torch.equal(splits["valid"].rows()["points"][:30], points)
    assert splits["train"].column("label").bincount().tolist() == [3] * 10


def test_what_is_hidden_is_one_side() -> None:
    """Of a sphere half of which is hidden, a hemisphere is left: its points reach less far along one direction."""
    whole, half = clouds("sphere"), clouds("sphere", occlusion=0.5)
    spread = [torch.linalg.svdvals(c - c.mean(1, keepdim=True))[:, -1] for c in (whole, half)]
    extent = [torch.linalg.svdvals(c - c.mean(1, keepdim=True))[:, 0] for c in (whole, half)]
    assert (spread[1] / extent[1]).mean() < 0.7 < (spread[0] / extent[0]).mean()


def test_density_falls_along_a_direction() -> None:
    """The mean of a sphere's points leaves its centre by about the gradient times a third."""
    even, thin = clouds("sphere", per_class=20), clouds("sphere", per_class=20, gradient=1.0)

    def off_centre(c: torch.Tensor) -> float:
        ones = torch.cat([2 * c, torch.ones_like(c[:, :, :1])], 2)  # |x|² = 2 x·m + (r² - |m|²)
        centre = torch.linalg.lstsq(ones, c.square().sum(2, keepdim=True)).solution[:, :3, 0]
        return centre.norm(dim=1).mean().item()

    assert off_centre(even) < 0.1 < off_centre(thin)


def test_a_folder_of_clouds(tmp_path) -> None:
    with pytest.raises(DataError, match=r"does not exist: expected .*/CLASS/train/\*\.npy"):
        data.point_cloud_folder(root=str(tmp_path / "none")).info()
    assert data.point_cloud_folder(root=str(tmp_path / "none"), classes=10).info()["train"].classes == 10
    for split in ("train", "test"):
        (tmp_path / "chair" / split).mkdir(parents=True)
    np.save(tmp_path / "chair" / "train" / "a.npy", np.random.default_rng(0).normal(size=(10, 6)))
    with pytest.raises(DataError, match="no point clouds to test on"):
        data.point_cloud_folder(root=str(tmp_path)).load()
    np.save(tmp_path / "chair" / "test" / "b.npy", np.eye(3))
    splits = data.point_cloud_folder(root=str(tmp_path), points=20).load()
    points = splits["train"].rows()["points"]
    torch.testing.assert_close(points.norm(dim=2).amax(1), torch.ones(1))
    expected = torch.from_numpy(np.load(tmp_path / "chair" / "train" / "a.npy")[[0, -1], :3]).float()
    torch.testing.assert_close(points[0, 0] - points[0, -1], (expected[0] - expected[1]) / scale_of(tmp_path))
    np.save(tmp_path / "chair" / "test" / "b.npy", np.zeros(3))
    with pytest.raises(DataError, match="expected \\[points, 3 or more\\]"):
        data.point_cloud_folder(root=str(tmp_path)).load()


def scale_of(root) -> float:
    """The radius by which the cloud is divided, every point taken twice."""
    cloud = torch.from_numpy(np.load(root / "chair" / "train" / "a.npy")[:, :3]).float()
    cloud = cloud[torch.linspace(0, 9, 20).round().long()]
    return (cloud - cloud.mean(0)).norm(dim=1).max().item()


def test_the_unit_sphere_of_one_point_is_its_centre() -> None:
    assert not unit_sphere(torch.ones(1, 5, 3)).any()
