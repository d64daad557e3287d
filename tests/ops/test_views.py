"""Views of an image that pass gradients."""

from __future__ import annotations

import torch

from kdrun import ops


def test_views_of_no_strength_are_the_image_and_pass_gradients() -> None:
    image = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    generator = torch.Generator().manual_seed(0)
    same = ops.random_affine_view(image, rotation=0.0, zoom=0.0, shift=0.0, generator=generator)
    assert torch.allclose(same, image, atol=1e-5)
    assert torch.allclose(ops.random_contrast_view(image, brightness=0.0, contrast=0.0, generator=generator), image)
    ops.random_contrast_view(ops.random_affine_view(image, generator=generator), generator=generator).sum().backward()
    assert image.grad.abs().sum() > 0
