"""Small trainable networks between a student's and a teacher's maps; sizes are found by the shape pass."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdrun.registry import model
from kdrun.types import Count, Positive, Size

__all__ = [
    "AttentionFusion",
    "BottleneckStem",
    "Paraphraser",
    "VariationalRegressor",
    "conv_adapter",
    "conv_projector",
    "translator",
]


@model
def conv_adapter(
    *,
    in_channels: Size = "auto",
    out_channels: Size = "auto",
    kernel_size: Count = 1,
    stride: Count = 1,
    norm: bool = True,
    relu: bool = False,
    bias: bool = False,
) -> nn.Module:
    """A convolution, batch norm and ReLU between two maps: a 1×1 convolution and its norm by default.

    ``kernel_size`` and ``stride`` in pixels; ``norm``, ``relu`` and ``bias`` say which layers there are. Reads maps
    [batch, in_channels, h, w] and gives [batch, out_channels, h / stride, w / stride] (rounded up).

    >>> models.conv_adapter(in_channels=8, out_channels=16, stride=2)(torch.zeros(2, 8, 6, 6)).shape
    torch.Size([2, 16, 3, 3])
    """
    padding = kernel_size // 2
    layers: list[nn.Module] = [
        nn.Conv2d(int(in_channels), int(out_channels), kernel_size, stride=stride, padding=padding, bias=bias)
    ]
    layers += [nn.BatchNorm2d(int(out_channels))] if norm else []
    layers += [nn.ReLU()] if relu else []
    return nn.Sequential(*layers)


@model
def conv_projector(*, in_channels: Size = "auto", out_channels: Size = "auto", factor: Count = 2) -> nn.Module:
    """1×1, 3×3 and 1×1 convolutions with batch norm and ReLU, from a student's map to a teacher's (Chen et al., 2022, SimKD).

    The middle one has ``out_channels / factor`` channels, one at least. Reads maps [batch, in_channels, h, w] and gives
    [batch, out_channels, h, w], not negative.

    >>> models.conv_projector(in_channels=8, out_channels=32)(torch.zeros(2, 8, 6, 6)).shape
    torch.Size([2, 32, 6, 6])
    """
    middle = max(int(out_channels) // factor, 1)
    widths = ((int(in_channels), middle, 1), (middle, middle, 3), (middle, int(out_channels), 1))
    layers: list[nn.Module] = []
    for before, after, size in widths:
        layers += [nn.Conv2d(before, after, size, padding=size // 2, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers)


def _paraphrase(before: int, after: int, slope: float, *, transposed: bool = False) -> list[nn.Module]:
    convolution = nn.ConvTranspose2d if transposed else nn.Conv2d
    return [convolution(before, after, 3, padding=1), nn.LeakyReLU(slope)]


@model(name="paraphraser", outputs=("factor", "reconstruction"))
class Paraphraser(nn.Module):
    """An autoencoder of a teacher's map whose code is the factor (Kim et al., 2018).

    Three 3×3 convolutions C→C→kC→kC with LeakyReLU of slope ``slope``, and transposed ones back; C is ``in_channels``
    and k ``rate`` (kC is rounded, one at least). Reads maps [batch, C, h, w]; outputs ``factor`` [batch, kC, h, w] and
    ``reconstruction`` [batch, C, h, w].

    >>> found = models.paraphraser(in_channels=8)(torch.zeros(2, 8, 6, 6))
    >>> found["factor"].shape, found["reconstruction"].shape
    (torch.Size([2, 4, 6, 6]), torch.Size([2, 8, 6, 6]))
    """

    def __init__(self, *, in_channels: Size = "auto", rate: Positive = 0.5, slope: Positive = 0.1) -> None:
        super().__init__()
        wide, narrow = int(in_channels), max(round(rate * int(in_channels)), 1)
        down, up = ((wide, wide), (wide, narrow), (narrow, narrow)), ((narrow, narrow), (narrow, wide), (wide, wide))
        self.encoder = nn.Sequential(*[layer for pair in down for layer in _paraphrase(*pair, slope)])
        self.decoder = nn.Sequential(*[layer for pair in up for layer in _paraphrase(*pair, slope, transposed=True)])

    def forward(self, maps: Tensor) -> dict[str, Tensor]:
        """``factor`` [batch, kC, h, w] and ``reconstruction`` [batch, C, h, w] of maps [batch, C, h, w]."""
        factor = self.encoder(maps)
        return {"factor": factor, "reconstruction": self.decoder(factor)}


@model
def translator(*, in_channels: Size = "auto", out_channels: Size = "auto", slope: Positive = 0.1) -> nn.Module:
    """A student's map in the terms of a teacher's factor (Kim et al., 2018).

    Three 3×3 convolutions C_in→C_in→C_out→C_out with LeakyReLU of slope ``slope``; ``out_channels`` are those of the
    factor. Reads maps [batch, in_channels, h, w] and gives [batch, out_channels, h, w].

    >>> models.translator(in_channels=6, out_channels=4)(torch.zeros(2, 6, 5, 5)).shape
    torch.Size([2, 4, 5, 5])
    """
    first, last = int(in_channels), int(out_channels)
    pairs = ((first, first), (first, last), (last, last))
    return nn.Sequential(*[layer for pair in pairs for layer in _paraphrase(*pair, slope)])


@model(name="vid_regressor", outputs=("mean", "variance"))
class VariationalRegressor(nn.Module):
    """Mean and per-channel variance of a teacher's map given the student's (Ahn et al., 2019).

    The mean comes from three 1×1 convolutions without bias and ReLU between, ``middle_channels`` wide inside (default:
    as the output); ``variance = softplus(ρ) + eps`` is free, ``start`` at first. Reads maps [batch, in_channels, h, w];
    outputs ``mean`` [batch, out_channels, h, w] and ``variance`` [1, out_channels, 1, 1], positive.

    >>> found = models.vid_regressor(in_channels=6, out_channels=8)(torch.zeros(2, 6, 5, 5))
    >>> found["mean"].shape, found["variance"].flatten()[:2].detach()
    (torch.Size([2, 8, 5, 5]), tensor([5., 5.]))
    """

    def __init__(
        self,
        *,
        in_channels: Size = "auto",
        out_channels: Size = "auto",
        middle_channels: Count | None = None,
        start: Positive = 5.0,
        eps: Positive = 1e-5,
    ) -> None:
        super().__init__()
        middle = middle_channels or int(out_channels)
        self.regressor = nn.Sequential(
            nn.Conv2d(int(in_channels), middle, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(middle, middle, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(middle, int(out_channels), 1, bias=False),
        )
        self.rho = nn.Parameter(torch.full((int(out_channels),), math.log(math.expm1(start - eps))))
        self.eps = eps

    def forward(self, maps: Tensor) -> dict[str, Tensor]:
        """``mean`` [batch, out, h, w] and ``variance`` [1, out, 1, 1] of maps [batch, in, h, w]."""
        variance = F.softplus(self.rho) + self.eps
        return {"mean": self.regressor(maps), "variance": variance.reshape(1, -1, 1, 1)}


@model(name="attention_fusion", outputs=("feature", "fused"))
class AttentionFusion(nn.Module):
    """One level of review: a student's map fused with the next deeper level's by attention (Chen et al., 2021).

    Both are seen with ``middle_channels`` channels. ``feature`` [batch, out_channels, h, w] is what the loss compares
    with the teacher's map, ``fused`` [batch, middle_channels, h, w] what the next shallower level takes. Reads ``maps``
    [batch, in_channels, h, w] and ``deeper``, the ``fused`` of the deeper level, resized here; the deepest level has
    ``fuse: false`` and reads its map alone. Raises ``ValueError`` if ``deeper`` is missing or given against ``fuse``.

    >>> deepest = models.attention_fusion(in_channels=8, out_channels=16, middle_channels=4, fuse=False)
    >>> above = models.attention_fusion(in_channels=6, out_channels=12, middle_channels=4)
    >>> fused = deepest(torch.zeros(2, 8, 3, 3))["fused"]
    >>> above(torch.zeros(2, 6, 6, 6), fused)["feature"].shape
    torch.Size([2, 12, 6, 6])
    """

    def __init__(
        self,
        *,
        in_channels: Size = "auto",
        out_channels: Size = "auto",
        middle_channels: Count = 512,
        fuse: bool = True,
    ) -> None:
        super().__init__()
        narrow = nn.Conv2d(int(in_channels), middle_channels, 1, bias=False)
        wide = nn.Conv2d(middle_channels, int(out_channels), 3, padding=1, bias=False)
        for convolution in (narrow, wide):
            nn.init.kaiming_uniform_(convolution.weight, a=1)
        self.reduce = nn.Sequential(narrow, nn.BatchNorm2d(middle_channels))
        self.attention = nn.Conv2d(2 * middle_channels, 2, 1) if fuse else None
        self.expand = nn.Sequential(wide, nn.BatchNorm2d(int(out_channels)))

    def forward(self, maps: Tensor, deeper: Tensor | None = None) -> dict[str, Tensor]:
        """``feature`` [batch, out, h, w] and ``fused`` [batch, middle, h, w] of [batch, in, h, w] and the deeper ``fused``.

        Raises ``ValueError`` if ``deeper`` is missing where ``fuse`` is true, or given where it is false.
        """
        if (deeper is None) != (self.attention is None):
            raise ValueError("attention_fusion takes the deeper level's 'fused' exactly where fuse is true")
        own = self.reduce(maps)
        if deeper is not None and self.attention is not None:
            resized = F.interpolate(deeper, own.shape[2:], mode="nearest")
            weights = self.attention(torch.cat([own, resized], dim=1)).sigmoid()
            own = own * weights[:, :1] + resized * weights[:, 1:]
        return {"feature": self.expand(own), "fused": own}


@model(name="bottleneck_stem", outputs=("feature", "code"))
class BottleneckStem(nn.Module):
    """A narrow stem in place of a network's early layers (Matsubara et al., 2020): encode to few channels, decode to a map.

    3×3 convolutions of ``width`` channels with batch norm and ReLU; strided ones halve the size ``log2(stride)`` times.
    Reads images [batch, in_channels, h, w]; outputs ``code`` [batch, bottleneck_channels, h / stride, w / stride], the
    bottleneck that would be sent, and ``feature`` [batch, out_channels, h / stride, w / stride], which replaces the
    output of the layers it stands for. Raises ``ValueError`` if ``stride`` is no power of two.

    >>> found = models.bottleneck_stem(in_channels=3, out_channels=32, stride=4)(torch.zeros(2, 3, 16, 16))
    >>> found["code"].shape, found["feature"].shape
    (torch.Size([2, 12, 4, 4]), torch.Size([2, 32, 4, 4]))
    """

    def __init__(
        self,
        *,
        in_channels: Size = "auto",
        out_channels: Size = "auto",
        bottleneck_channels: Count = 12,
        width: Count = 64,
        stride: Count = 8,
    ) -> None:
        super().__init__()
        if stride & (stride - 1):
            raise ValueError(f"stride must be a power of two, got {stride}")
        layers: list[nn.Module] = []
        before = int(in_channels)
        for _ in range(stride.bit_length() - 1):
            layers += _normalized_convolution(before, width, stride=2)
            before = width
        self.encoder = nn.Sequential(*layers, *_normalized_convolution(before, bottleneck_channels))
        decoded = nn.Conv2d(width, int(out_channels), 3, padding=1, bias=False)
        self.decoder = nn.Sequential(
            *_normalized_convolution(bottleneck_channels, width), decoded, nn.BatchNorm2d(int(out_channels)), nn.ReLU()
        )

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """``feature`` [batch, out, h/stride, w/stride] and ``code`` [batch, bottleneck, h/stride, w/stride] of images."""
        code = self.encoder(image)
        return {"feature": self.decoder(code), "code": code}


def _normalized_convolution(before: int, after: int, *, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(after), nn.ReLU()]
