"""Generators and discriminators of images, by class."""

from __future__ import annotations

import itertools

from torch import Tensor, nn
from torch.nn import functional as F

from kdrun.errors import InputError
from kdrun.registry import model
from kdrun.types import Count, Size

__all__ = ["ConditionalGenerator", "TwoHeadDiscriminator"]


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
