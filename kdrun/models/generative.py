"""Generators and discriminators of images, by class or by text."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdrun.errors import InputError
from kdrun.ops.maps import modulated_maps
from kdrun.registry import model
from kdrun.types import Count, Size

__all__ = ["ConditionalGenerator", "TextConditionedGenerator", "TwoHeadDiscriminator"]


class _ConditionalNorm(nn.Module):
    """Batch norm whose scale and shift depend on the class (Dumoulin, Shlens & Kudlur, 2017)."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(width, affine=False)
        self.scale = nn.Embedding(classes, width)
        self.shift = nn.Embedding(classes, width)
        nn.init.ones_(self.scale.weight)
        nn.init.zeros_(self.shift.weight)

    def forward(self, maps: Tensor, label: Tensor) -> Tensor:
        return self.scale(label)[..., None, None] * self.norm(maps) + self.shift(label)[..., None, None]


class _UpBlock(nn.Module):
    def __init__(self, before: int, width: int, classes: int) -> None:
        super().__init__()
        self.first, self.second = _ConditionalNorm(before, classes), _ConditionalNorm(width, classes)
        self.convolve = nn.Conv2d(before, width, 3, padding=1)
        self.again = nn.Conv2d(width, width, 3, padding=1)
        self.beside = nn.Conv2d(before, width, 1)

    def forward(self, maps: Tensor, label: Tensor) -> Tensor:
        hidden = F.interpolate(self.first(maps, label).relu(), scale_factor=2.0)
        hidden = self.again(self.second(self.convolve(hidden), label).relu())
        return hidden + self.beside(F.interpolate(maps, scale_factor=2.0))


@model(name="conditional_generator")
class ConditionalGenerator(nn.Module):
    """Residual blocks with class-conditional batch norm, each twice the size of the one before (Miyato & Koyama, 2018).

    The first map has a side of ``bottom`` pixels, the last one ``image_size``, which is ``bottom`` times a power of
    two; blocks are ``width`` channels wide at the end and twice that with each halving, sixteen times at most. Reads
    ``latent`` [batch, latent], such as standard normal numbers, and ``label`` [batch] (int64, below ``classes``); gives
    images [batch, channels, image_size, image_size], pixels in (0, 1). Raises ``InputError`` for another size.

    >>> network = models.conditional_generator(latent=4, width=4, classes=3)
    >>> network(torch.randn(2, 4), torch.tensor([0, 2])).shape
    torch.Size([2, 1, 8, 8])
    """

    def __init__(
        self,
        *,
        latent: Count = 32,
        width: Count = 32,
        bottom: Count = 2,
        classes: Count = 10,
        channels: Count = 1,
        image_size: Count = 8,
    ) -> None:
        super().__init__()
        doublings = (image_size // bottom).bit_length() - 1
        if bottom << doublings != image_size:
            raise InputError(f"an image of {image_size} pixels is no power of two times {bottom}")
        widths = [width * min(2**i, 16) for i in range(doublings, -1, -1)]
        self.bottom = bottom
        self.enter = nn.Linear(latent, widths[0] * bottom**2)
        self.blocks = nn.ModuleList(_UpBlock(a, b, classes) for a, b in itertools.pairwise(widths))
        self.norm = nn.BatchNorm2d(widths[-1])
        self.leave = nn.Conv2d(widths[-1], channels, 3, padding=1)

    def forward(self, latent: Tensor, label: Tensor) -> Tensor:
        """Images [batch, channels, size, size] of latents [batch, latent] and labels [batch] (int64)."""
        maps = self.enter(latent).view(len(latent), -1, self.bottom, self.bottom)
        for block in self.blocks:
            maps = block(maps, label)
        return self.leave(self.norm(maps).relu()).sigmoid()


def _silent(features: int, hidden: int, width: int) -> nn.Sequential:
    """Two linear layers that say nothing at first."""
    first, last = nn.Linear(features, hidden), nn.Linear(hidden, width)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(first, nn.ReLU(), last)


class _MaskedNorm(nn.Module):
    """Batch norm whose scale and shift depend on a text, where a mask lets them; at first on nothing."""

    def __init__(self, width: int, features: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(width, affine=False)
        self.gamma, self.beta = (_silent(features, hidden, width) for _ in range(2))

    def forward(self, maps: Tensor, text: Tensor, mask: Tensor) -> Tensor:
        return modulated_maps(self.norm(maps), self.gamma(text), self.beta(text), mask)


class _TextBlock(nn.Module):
    """A shortcut, and beside it two convolutions that hear the text, by a learned share that is 0 at first."""

    def __init__(self, before: int, width: int, features: int, hidden: int) -> None:
        super().__init__()
        self.first, self.second = _MaskedNorm(before, features, hidden), _MaskedNorm(width, features, hidden)
        self.convolve = nn.Conv2d(before, width, 3, padding=1)
        self.again = nn.Conv2d(width, width, 3, padding=1)
        self.shortcut = nn.Conv2d(before, width, 1) if before != width else nn.Identity()
        self.share = nn.Parameter(torch.zeros(()))

    def forward(self, maps: Tensor, text: Tensor, mask: Tensor) -> Tensor:
        inner = self.convolve(self.first(maps, text, mask).relu())
        inner = self.again(self.second(inner, text, mask).relu())
        return self.shortcut(maps) + self.share * inner


def _mask_logits(width: int, inner: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, inner, 3, padding=1), nn.BatchNorm2d(inner), nn.ReLU(), nn.Conv2d(inner, 1, 1)
    )


@model(name="text_conditioned_generator")
class TextConditionedGenerator(nn.Module):
    """Residual blocks whose batch norms hear a text where masks let them, each map twice the one before (Liao et al., 2022).

    Latents become maps of ``planes[0]`` channels with a side of ``bottom`` pixels; a block for each of ``planes`` gives so many
    channels, with nearest upsampling between blocks, so that images have ``bottom · 2^(blocks - 1)`` pixels a side. Each batch norm
    x̂, without parameters of its own, becomes ``(1 + mγ)x̂ + mβ``: γ and β are two-layer networks of the text, ``hidden`` wide, and m is
    the sigmoid of logits that two convolutions, ``mask_width`` apart, read from the maps before the block, upsampled bilinearly with them. ``share`` weighs what
    a block adds to its shortcut. The shares and the last layers of γ and β are 0 at first. ``squash`` ends in tanh.

    Reads ``text`` [batch, features] and ``latent`` [batch, latent], such as standard normal numbers; gives [batch, channels, side, side].

    >>> network = models.text_conditioned_generator(features=8, latent=4, planes=[16, 8, 4])
    >>> network(torch.randn(2, 8), torch.randn(2, 4)).shape
    torch.Size([2, 3, 16, 16])
    """

    def __init__(
        self,
        *,
        features: Count = 512,
        latent: Count = 100,
        planes: list[Count] = (512, 512, 512, 512, 256, 128, 64),  # type: ignore[assignment]
        bottom: Count = 4,
        hidden: Count = 256,
        mask_width: Count = 100,
        channels: Count = 3,
        squash: bool = True,
    ) -> None:
        super().__init__()
        self.bottom, self.squash = bottom, squash
        self.enter = nn.Linear(latent, planes[0] * bottom**2)
        widths = [planes[0], *planes]
        self.masks = nn.ModuleList(_mask_logits(width, mask_width) for width in widths[:-1])
        self.blocks = nn.ModuleList(_TextBlock(a, b, features, hidden) for a, b in itertools.pairwise(widths))
        self.leave = nn.Sequential(
            nn.BatchNorm2d(planes[-1]), nn.LeakyReLU(0.2), nn.Conv2d(planes[-1], channels, 3, padding=1)
        )

    def forward(self, text: Tensor, latent: Tensor) -> Tensor:
        """Images [batch, channels, side, side] of texts [batch, features] and latents [batch, latent]."""
        maps = self.enter(latent).view(len(latent), -1, self.bottom, self.bottom)
        for number, (logits, block) in enumerate(zip(self.masks, self.blocks, strict=True)):
            mask = logits(maps)
            if number:
                maps = F.interpolate(maps, scale_factor=2.0)
                mask = F.interpolate(mask, scale_factor=2.0, mode="bilinear", align_corners=True)
            maps = block(maps, text, mask.sigmoid())
        output = self.leave(maps)
        return output.tanh() if self.squash else output


class _Halving(nn.Module):
    """Two convolutions beside a shortcut, then half as many pixels a side."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(before, after, 3, padding=1), nn.Conv2d(after, after, 3, padding=1)
        self.shortcut = nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.second(F.leaky_relu(self.first(x), 0.2))
        return F.avg_pool2d(F.leaky_relu(inner + self.shortcut(x), 0.2), 2)


@model(name="two_head_discriminator", outputs=("real", "logits"))
class TwoHeadDiscriminator(nn.Module):
    """Residual convolutions, halving between, summed over pixels; one head for real or generated, one for the class.

    The pair of an auxiliary-classifier GAN (Odena, Olah & Shlens, 2017); without batch norm. ``levels`` pairs of
    convolutions are ``width`` channels wide at first and twice that with each halving, sixteen times at most. Reads
    images [batch, in_channels, h, w] (``2^levels`` pixels at least); outputs ``real`` [batch], a score without sigmoid,
    and class ``logits`` [batch, num_classes]. Taps: ``feature``, ``head`` (the class's).

    >>> found = models.two_head_discriminator(width=4, num_classes=3, in_channels=1)(torch.zeros(2, 1, 8, 8))
    >>> found["real"].shape, found["logits"].shape
    (torch.Size([2]), torch.Size([2, 3]))
    """

    def __init__(
        self, *, width: Count = 32, levels: Count = 2, num_classes: Count = 10, in_channels: Size = "auto"
    ) -> None:
        super().__init__()
        widths = [int(in_channels), *[width * min(2**i, 16) for i in range(levels)]]
        self.body = nn.Sequential(*[_Halving(into, out) for into, out in itertools.pairwise(widths)])
        before = widths[-1]
        self.real = nn.Linear(before, 1)
        self.head = nn.Linear(before, num_classes)
        self.tap_points = {"feature": "head:input", "head": "head"}

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """``real`` [batch], a score without sigmoid, and class ``logits`` [batch, classes] of images [batch, ...]."""
        feature = self.body(image).sum((2, 3))
        return {"real": self.real(feature).squeeze(1), "logits": self.head(feature)}
