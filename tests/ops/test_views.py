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
