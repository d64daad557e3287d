"""Transforms: shapes, repeatability, limits, and maps that stay with their images."""

from __future__ import annotations

import pytest
import torch

from kdrun.data import transforms
from kdrun.errors import DataError


def batch() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {"image": torch.rand(16, 3, 8, 8), "label": torch.arange(16)}


def draw(name: str, seed: int = 0, **options) -> dict[str, torch.Tensor]:
    return getattr(transforms, name)(batch(), generator=torch.Generator().manual_seed(seed), **options)


@pytest.mark.parametrize("name", sorted({*transforms.__all__} - {"random_window"}))
def test_transforms_repeat_keep_shapes_and_leave_labels(name) -> None:
    one, same, other = draw(name), draw(name), draw(name, seed=1)
    assert torch.equal(one["image"], same["image"])
    assert not torch.equal(one["image"], other["image"])
    assert one["image"].shape == batch()["image"].shape
    assert torch.equal(one["label"], batch()["label"])


def test_transforms_at_their_limits() -> None:
    image = batch()["image"]
    assert torch.equal(draw("random_horizontal_flip", probability=1.0)["image"], image.flip(3))
    assert torch.equal(draw("random_crop", padding=0)["image"], image)
    torch.testing.assert_close(
        draw("random_affine", degrees=0.0, translate=0.0, scale=0.0)["image"], image, atol=1e-5, rtol=0
    )
    torch.testing.assert_close(draw("random_resized_crop", smallest=1.0, ratio=1.0)["image"], image, atol=1e-5, rtol=0)
    assert (draw("random_erasing", probability=1.0, side=0.25)["image"] == 0).sum().item() == 16 * 3 * 4
    torch.testing.assert_close(draw("gaussian_noise", std=0.0)["image"], image)


def test_a_crop_is_a_window_of_the_padded_image() -> None:
    padded = torch.nn.functional.pad(batch()["image"], (2, 2, 2, 2))
    for row, crop in zip(padded, draw("random_crop", padding=2)["image"], strict=True):
        windows = row.unfold(1, 8, 1).unfold(2, 8, 1)
        assert any(torch.equal(windows[:, i, j], crop) for i in range(5) for j in range(5))


def test_mixup_blends_pairs_by_the_weight_it_reports() -> None:
    mixed = draw("mixup", alpha=1.0)
    other = batch()["image"][mixed["other_label"]]
    weight = mixed["mix"].view(-1, 1, 1, 1)
    torch.testing.assert_close(mixed["image"], weight * batch()["image"] + (1 - weight) * other)
    assert 0 <= mixed["mix"].min() <= mixed["mix"].max() <= 1


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
