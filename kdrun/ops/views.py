"""Random views of images through which gradients flow."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from kdrun.registry import op
from kdrun.types import Fraction, NonNegative

__all__ = ["random_affine_view", "random_contrast_view"]


def _uniform(rows: int, like: Tensor, generator: torch.Generator) -> Tensor:
    """[rows] numbers from -1 to 1."""
    return (torch.rand(rows, generator=generator, device=generator.device) * 2 - 1).to(like)


@op
def random_affine_view(
    image: Tensor,
    *,
    rotation: NonNegative = 5.0,
    zoom: Fraction = 0.1,
    shift: NonNegative = 0.05,
    generator: torch.Generator,
) -> Tensor:
    """Each image [batch, channels, h, w] turned, zoomed and moved at random, bilinear, zero outside.

    By up to ``rotation`` degrees, by a factor 1 ± ``zoom``, and by ``shift`` of the side along each axis.
    """
    rows = len(image)
    angle = _uniform(rows, image, generator) * math.radians(rotation)
    factor = 1 + zoom * _uniform(rows, image, generator)
    x, y = (2 * shift * _uniform(rows, image, generator) for _ in range(2))
    cos, sin = angle.cos() * factor, angle.sin() * factor
    matrix = torch.stack([cos, -sin, x, sin, cos, y], 1).view(-1, 2, 3)
    grid = F.affine_grid(matrix, list(image.shape), align_corners=False)
    return F.grid_sample(image, grid, align_corners=False)


@op
def random_contrast_view(
    image: Tensor,
    *,
    brightness: NonNegative = 0.2,
    contrast: NonNegative = 0.2,
    share: Fraction = 0.5,
    generator: torch.Generator,
) -> Tensor:
    """A random ``share`` of images [batch, channels, h, w] with brightness and contrast changed by factors 1 ± these."""
    rows = len(image)
    chosen = (torch.rand(rows, generator=generator, device=generator.device) < share).to(image)
    bright = 1 + chosen * brightness * _uniform(rows, image, generator)
    spread = 1 + chosen * contrast * _uniform(rows, image, generator)
    lit = image * bright.view(-1, 1, 1, 1)
    mean = lit.mean((1, 2, 3), keepdim=True)
    return (mean + (lit - mean) * spread.view(-1, 1, 1, 1)).clamp(0, 1)
