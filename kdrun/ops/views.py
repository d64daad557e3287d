"""Views of images: turned, moved, lit and restyled, with gradients flowing through."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from kdrun.ops.random_draws import beta
from kdrun.registry import op
from kdrun.types import Count, Fraction, NonNegative, Positive

__all__ = [
    "mix_statistics",
    "mixup",
    "random_affine_view",
    "random_contrast_view",
    "random_crop_view",
    "rotation_views",
]


@op
def rotation_views(image: Tensor) -> Tensor:
    """Each image turned by 0, 90, 180 and 270 degrees: [batch, channels, n, n] to [4·batch, channels, n, n].

    Rows 4i to 4i + 3 are those of image i, the first as it was.

    >>> ops.rotation_views(torch.tensor([[[[1, 2], [3, 4]]]])).flatten(1)
    tensor([[1, 2, 3, 4],
            [2, 4, 1, 3],
            [4, 3, 2, 1],
            [3, 1, 4, 2]])
    """
    return torch.stack([image.rot90(turns, (2, 3)) for turns in range(4)], dim=1).flatten(0, 1)


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

    By up to ``rotation`` degrees, by a factor 1 ± ``zoom``, and by ``shift`` of the side along each axis, each image by
    its own draw. Differentiable in the image.

    >>> view = ops.random_affine_view(torch.ones(2, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    >>> view.shape
    torch.Size([2, 3, 8, 8])
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
def random_crop_view(
    image: Tensor,
    *,
    smallest: Fraction = 0.5,
    largest: Fraction = 1.0,
    size: Count | None = None,
    mirrored: Fraction = 0.5,
    generator: torch.Generator,
) -> Tensor:
    """A random square window of each image [batch, channels, h, w], resampled to ``size`` (the height, without it): [..., size, size].

    A window has ``smallest`` to ``largest`` of the area and lies inside, each image by its own draw; a share ``mirrored`` is turned
    left to right. Several of large and small windows are the crops of self-supervised learning (Caron et al., 2020). Differentiable
    in the image.

    >>> view = ops.random_crop_view(torch.ones(2, 3, 8, 8), size=6, generator=torch.Generator().manual_seed(0))
    >>> view.shape
    torch.Size([2, 3, 6, 6])
    """
    rows, channels, height, _ = image.shape
    middle, half = (smallest + largest) / 2, (largest - smallest) / 2
    side = (middle + half * _uniform(rows, image, generator)).sqrt()
    x, y = ((1 - side) * _uniform(rows, image, generator) for _ in range(2))
    flip = torch.where(_uniform(rows, image, generator) < 2 * mirrored - 1, -1.0, 1.0).to(image)
    zero = torch.zeros_like(side)
    matrix = torch.stack([side * flip, zero, x, zero, side, y], 1).view(-1, 2, 3)
    grid = F.affine_grid(matrix, [rows, channels, size or height, size or height], align_corners=False)
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
    """A random ``share`` of images with brightness and contrast changed by factors 1 ± these.

    ``image`` [batch, channels, h, w] in [0, 1], and so is the result: ``mean + (lit - mean) · contrast`` is clamped
    there. Differentiable in the image.

    >>> image = torch.full((2, 1, 4, 4), 0.5)
    >>> view = ops.random_contrast_view(image, share=0.0, generator=torch.Generator().manual_seed(0))
    >>> torch.equal(view, image)  # no image was chosen
    True
    """
    rows = len(image)
    chosen = (torch.rand(rows, generator=generator, device=generator.device) < share).to(image)
    bright = 1 + chosen * brightness * _uniform(rows, image, generator)
    spread = 1 + chosen * contrast * _uniform(rows, image, generator)
    lit = image * bright.view(-1, 1, 1, 1)
    mean = lit.mean((1, 2, 3), keepdim=True)
    return (mean + (lit - mean) * spread.view(-1, 1, 1, 1)).clamp(0, 1)


@op
def mix_statistics(image: Tensor, ratio: Tensor, order: Tensor, *, eps: Positive = 1e-6) -> Tensor:
    """Give each image the mixed per-channel mean and deviation of itself and a partner (MixStyle: Zhou et al., 2021).

    ``(x - mean) / deviation · mixed deviation + mixed mean``. ``image`` [batch, channels, h, w]; ``ratio`` [batch] in
    [0, 1], the share of its own statistics; ``order`` [batch] (int64), the partner's row. Statistics are constants: no
    gradient flows through them.

    >>> image = torch.tensor([[[[0.0, 2.0]]], [[[10.0, 14.0]]]])
    >>> ops.mix_statistics(image, torch.tensor([0.0, 1.0]), torch.tensor([1, 0])).flatten(1)
    tensor([[10., 14.],
            [10., 14.]])
    """
    mean = image.mean((2, 3), keepdim=True).detach()
    deviation = (image.var((2, 3), keepdim=True) + eps).sqrt().detach()
    share = ratio.reshape(-1, 1, 1, 1)
    mixed_mean = share * mean + (1 - share) * mean[order]
    mixed_deviation = share * deviation + (1 - share) * deviation[order]
    return (image - mean) / deviation * mixed_deviation + mixed_mean


@op
def mixup(
    image: Tensor, target: Tensor, *, alpha: Positive = 0.75, own_leads: bool = True, generator: torch.Generator
) -> dict[str, Tensor]:
    """Each row blended with another one of the batch, and their targets likewise (Zhang et al., 2018).

    Fields ``image`` [batch, ...] and ``target`` [batch, classes]: ``l`` of the row's own and ``1 - l`` of the row that a random order
    puts beside it, l from Beta(``alpha``, ``alpha``), a number a row. With ``own_leads`` l is the larger of that and one minus it
    (Berthelot et al., 2019). Differentiable in both.

    >>> mixed = ops.mixup(torch.ones(4, 1, 2, 2), torch.eye(4), generator=torch.Generator().manual_seed(0))
    >>> mixed["image"].unique(), bool((mixed["target"].diagonal() >= 0.5).all())
    (tensor([1.]), True)
    """
    share = beta(image, first=alpha, second=alpha, generator=generator)
    share = torch.maximum(share, 1 - share) if own_leads else share
    order = torch.randperm(len(image), generator=generator, device=generator.device).to(image.device)
    wide = share.view(-1, *[1] * (image.dim() - 1))
    return {
        "image": wide * image + (1 - wide) * image[order],
        "target": share[:, None] * target + (1 - share[:, None]) * target[order],
    }
