"""Small trainable maps between a student's and a teacher's features; sizes are found by the shape pass."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdrun.registry import model
from kdrun.types import Count, Fraction, Positive, Size

__all__ = [
    "AttentionFusion",
    "BottleneckStem",
    "EmbeddingAdapter",
    "NormalizedLinear",
    "Paraphraser",
    "VariationalRegressor",
    "conv_adapter",
    "conv_projector",
    "linear_projector",
    "log_variance_head",
    "mlp_codec",
    "standardized_linear",
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
    """A convolution (1×1 by default), batch norm and ReLU: maps [batch, in, h, w] to [batch, out, h/stride, w/stride]."""
    padding = kernel_size // 2
    layers: list[nn.Module] = [
        nn.Conv2d(int(in_channels), int(out_channels), kernel_size, stride=stride, padding=padding, bias=bias)
    ]
    layers += [nn.BatchNorm2d(int(out_channels))] if norm else []
    layers += [nn.ReLU()] if relu else []
    return nn.Sequential(*layers)


@model
def conv_projector(*, in_channels: Size = "auto", out_channels: Size = "auto", factor: Count = 2) -> nn.Module:
    """1×1, 3×3 and 1×1 convolutions with batch norm and ReLU, ``out / factor`` channels inside (Chen et al., 2022, SimKD).

    Maps [batch, in, h, w] to [batch, out, h, w].
    """
    middle = max(int(out_channels) // factor, 1)
    widths = ((int(in_channels), middle, 1), (middle, middle, 3), (middle, int(out_channels), 1))
    layers: list[nn.Module] = []
    for before, after, size in widths:
        layers += [nn.Conv2d(before, after, size, padding=size // 2, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers)


@model
def linear_projector(*, in_features: Size = "auto", out_features: Size = "auto", bias: bool = True) -> nn.Module:
    """A linear map of the last axis."""
    return nn.Linear(int(in_features), int(out_features), bias=bias)


@model
def mlp_codec(
    *, in_features: Size = "auto", out_features: Size = "auto", hidden: Count = 128, normalize: bool = True
) -> nn.Module:
    """Two linear layers with GELU between, and layer norm at the output: hidden states [..., in] to messages [..., out]."""
    layers: list[nn.Module] = [nn.Linear(int(in_features), hidden), nn.GELU(), nn.Linear(hidden, int(out_features))]
    return nn.Sequential(*layers, *([nn.LayerNorm(int(out_features))] if normalize else []))


@model
def log_variance_head(*, in_features: Size = "auto", out_features: Size = "auto") -> nn.Module:
    """Linear map and batch norm: the log-variances [batch, out] that a feature [batch, in] predicts (Zhang et al., 2020)."""
    return nn.Sequential(nn.Linear(int(in_features), int(out_features)), nn.BatchNorm1d(int(out_features)))


@model
def standardized_linear(*, in_features: Size = "auto", out_features: Size = "auto", project: bool = True) -> nn.Module:
    """A linear map (left out without ``project``), then batch norm without scale and shift (Miles et al., 2024)."""
    layers: list[nn.Module] = [nn.Linear(int(in_features), int(out_features))] if project else []
    return nn.Sequential(*layers, nn.BatchNorm1d(int(out_features), affine=False))


@model(name="embedding_adapter")
class EmbeddingAdapter(nn.Module):
    """Batch norm, dropout and a linear map (Wang et al., 2023); the identity where the sizes agree."""

    def __init__(self, *, dropout: Fraction = 0.5, in_features: Size = "auto", out_features: Size = "auto") -> None:
        super().__init__()
        same = int(in_features) == int(out_features)
        layers = [nn.BatchNorm1d(int(in_features)), nn.Dropout(dropout), nn.Linear(int(in_features), int(out_features))]
        self.layers = nn.Identity() if same else nn.Sequential(*layers)

    def forward(self, feature: Tensor) -> Tensor:
        """[batch, out_features] of [batch, in_features]."""
        return self.layers(feature)


@model(name="normalised_linear")
class NormalizedLinear(nn.Module):
    """A linear map whose output rows are L2-normalised: the embedding of contrastive losses."""

    def __init__(self, *, in_features: Size = "auto", out_features: Size = 128, bias: bool = True) -> None:
        super().__init__()
        self.linear = nn.Linear(int(in_features), int(out_features), bias=bias)

    def forward(self, feature: Tensor) -> Tensor:
        """Unit rows [batch, out_features] of [batch, ...], flattened."""
        return F.normalize(self.linear(feature.flatten(1)), dim=1)


def _paraphrase(before: int, after: int, slope: float, *, transposed: bool = False) -> list[nn.Module]:
    convolution = nn.ConvTranspose2d if transposed else nn.Conv2d
    return [convolution(before, after, 3, padding=1), nn.LeakyReLU(slope)]


@model(name="paraphraser", outputs=("factor", "reconstruction"))
class Paraphraser(nn.Module):
    """An autoencoder of a teacher's map whose code is the factor (Kim et al., 2018).

    Three 3×3 convolutions C→C→kC→kC with LeakyReLU, and transposed ones back. Sizes: C is the input's channels.
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
    """Three 3×3 convolutions C_in→C_in→C_out→C_out with LeakyReLU (Kim et al., 2018); ``out_channels`` those of the factor."""
    first, last = int(in_channels), int(out_channels)
    pairs = ((first, first), (first, last), (last, last))
    return nn.Sequential(*[layer for pair in pairs for layer in _paraphrase(*pair, slope)])


@model(name="vid_regressor", outputs=("mean", "variance"))
class VariationalRegressor(nn.Module):
    """Mean and per-channel variance of a teacher's map given the student's (Ahn et al., 2019).

    Three 1×1 convolutions without bias and ReLU between; ``variance = softplus(ρ) + eps``, ``start`` at first.
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

    ``feature`` is what the loss compares with the teacher's map, ``fused`` what the next shallower level takes. The
    deepest level has ``fuse: false`` and reads its map alone.
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

    ``feature`` replaces the output of the layers it stands for; ``code`` is the bottleneck that would be sent.
    Strided 3×3 convolutions with batch norm and ReLU halve the size ``log2(stride)`` times.
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
