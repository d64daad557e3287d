"""Views of an image."""

from __future__ import annotations

import torch
from torch import Tensor

from kdrun import ops
from kdrun.ops.views import rotation_views
from support.tensors import generator


def test_rotation_views_come_four_a_row() -> None:
    image = torch.randn(2, 1, 3, 3)
    views = rotation_views(image)
    assert torch.equal(views[4], image[1])
    assert torch.equal(views[6].flip(1, 2), image[1])
    assert torch.equal(views[5].rot90(-1, (1, 2)), image[1])


def image(seed: int) -> Tensor:
    return torch.randn(3, 2, 6, 6, generator=generator(seed), dtype=torch.float64) * (seed + 2) + seed


def test_mixing_with_share_one_changes_nothing_and_zero_takes_the_partners_statistics() -> None:
    images, order = image(1) * torch.tensor([1.0, 2.0, 5.0]).reshape(3, 1, 1, 1), torch.tensor([1, 2, 0])
    same = ops.mix_statistics(images, torch.ones(3, dtype=torch.float64), order)
    torch.testing.assert_close(same, images)
    swapped = ops.mix_statistics(images, torch.zeros(3, dtype=torch.float64), order)
    torch.testing.assert_close(swapped.mean((2, 3)), images.mean((2, 3))[order])
    torch.testing.assert_close(swapped.std((2, 3)), images.std((2, 3))[order], rtol=1e-5, atol=0)


def test_views_of_no_strength_are_the_image_and_pass_gradients() -> None:
    image = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    generator = torch.Generator().manual_seed(0)
    same = ops.random_affine_view(image, rotation=0.0, zoom=0.0, shift=0.0, generator=generator)
    assert torch.allclose(same, image, atol=1e-5)
    assert torch.allclose(ops.random_contrast_view(image, brightness=0.0, contrast=0.0, generator=generator), image)
    ops.random_contrast_view(ops.random_affine_view(image, generator=generator), generator=generator).sum().backward()
    assert image.grad.abs().sum() > 0


def test_mixup_blends_images_and_targets_by_one_share_in_which_the_row_itself_leads() -> None:
    image = torch.arange(32.0).view(32, 1, 1, 1).expand(32, 1, 2, 2)
    target = torch.eye(32)
    for leads in (True, False):
        mixed = ops.mixup(image, target, own_leads=leads, generator=generator())
        torch.testing.assert_close(mixed["target"].sum(1), torch.ones(32))
        torch.testing.assert_close(mixed["image"][:, 0, 0, 0], mixed["target"] @ torch.arange(32.0))
        own = mixed["target"].diagonal()
        assert bool((own >= 0.5).all()) == leads
    still = ops.mixup(image, target, alpha=1e-3, generator=generator())
    torch.testing.assert_close(still["image"], image, atol=1e-3, rtol=0)


def test_a_window_of_the_whole_area_is_the_image_or_its_mirror() -> None:
    image = torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    options = {"smallest": 1.0, "largest": 1.0, "generator": torch.Generator().manual_seed(0)}
    assert torch.allclose(ops.random_crop_view(image, mirrored=0.0, **options), image, atol=1e-5)
    assert torch.allclose(ops.random_crop_view(image, mirrored=1.0, **options), image.flip(3), atol=1e-5)
    half = ops.random_crop_view(image, mirrored=0.5, **options)
    same = (half - image).abs().flatten(1).amax(1) < 1e-4
    assert 16 < int(same.sum()) < 48
    assert torch.allclose(half[~same], image[~same].flip(3), atol=1e-4)


def test_small_windows_lie_inside_and_keep_their_share() -> None:
    """On a ramp from 0 to 1 across the image, a window's spread is its side."""
    ramp = ((torch.arange(32) + 0.5) / 32).expand(500, 1, 32, 32)
    generator = torch.Generator().manual_seed(0)
    view = ops.random_crop_view(ramp, smallest=0.25, largest=0.36, size=16, mirrored=0.0, generator=generator)
    first, last = view[:, 0, 0, 0], view[:, 0, 0, -1]
    side = (last - first) * 16 / 15
    assert view.min() > 0.01
    assert view.max() < 0.99
    assert 0.5 - 1e-3 < side.min() < 0.51
    assert 0.59 < side.max() < 0.6 + 1e-3
    assert view.shape == (500, 1, 16, 16)
