"""Small networks for small data, and the plain building blocks of step graphs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from kdrun.models.taps import level_taps
from kdrun.registry import model
from kdrun.types import Count, Fraction, NonNegative, Size, Unsigned

__all__ = ["ConvolutionalNetwork", "MultilayerPerceptron", "RandomFeatures", "RowValues", "RowVectors", "linear"]

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "silu": nn.SiLU,
    "sigmoid": nn.Sigmoid,
    "none": nn.Identity,
}


@model(name="cnn")
class ConvolutionalNetwork(nn.Module):
    """Blocks of convolution, batch norm and ReLU, with max-pooling between while the map is above 2 pixels.

    ``channels`` has a width a block; convolutions are of ``kernel_size`` pixels with ``padding`` (what lies outside the
    image). ``downsample`` may also list the blocks (from 0) before which the map is halved. ``pool`` reduces the last
    map to its mean or its maximum; ``none`` flattens it. ``norm: group`` takes groups of 8 channels instead of the
    batch. ``hidden`` are widths of linear layers with ReLU between pooling and head. With ``downsample: false``,
    ``padding: circular`` and ``pool: max`` the logits do not change when an image is moved around the edges.

    Reads images [batch, in_channels, image_size, image_size] and gives logits [batch, num_classes]. Taps: ``map_1`` …
    (the blocks), ``map`` (the last), ``map_1_pre`` … (before their ReLU), ``pooled``, ``feature`` (what the head
    reads), ``head``.

    >>> network = models.cnn(channels=[4, 8], num_classes=3, in_channels=1, image_size=8)
    >>> network(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 3])
    >>> network.tap_points["map"]
    'blocks.1'
    """

    def __init__(
        self,
        *,
        channels: list[Count] = (16, 32),  # type: ignore[assignment]
        kernel_size: Count = 3,
        padding: Literal["zeros", "circular", "reflect"] = "zeros",
        downsample: bool | list[Unsigned] = True,
        pool: Literal["mean", "max", "none"] = "mean",
        norm: Literal["batch", "group"] = "batch",
        hidden: list[Count] = (),  # type: ignore[assignment]
        num_classes: Size = "auto",
        in_channels: Size = "auto",
        image_size: Size = "auto",
    ) -> None:
        super().__init__()
        maps = [int(in_channels), *channels]
        self.blocks, size = _blocks(
            maps,
            int(image_size),
            lambda i: i in downsample if isinstance(downsample, list) else downsample and i > 0,
            {"kernel_size": kernel_size, "padding": kernel_size // 2, "padding_mode": padding},
            norm,
        )
        self.pool = {"mean": nn.AdaptiveAvgPool2d(1), "max": nn.AdaptiveMaxPool2d(1), "none": nn.Identity()}[pool]
        widths = [maps[-1] * (size**2 if pool == "none" else 1), *hidden]
        layers = [(nn.Linear(before, width), nn.ReLU()) for before, width in itertools.pairwise(widths)]
        self.up = nn.Sequential(*itertools.chain.from_iterable(layers))
        self.head = nn.Linear(widths[-1], int(num_classes))
        blocks = [f"blocks.{i}" for i in range(len(channels))]
        self.tap_points = {**level_taps(blocks, [f"{path}.2" for path in blocks]), "pooled": "up:input"}

    def forward(self, image: Tensor) -> Tensor:
        """Logits [batch, classes] of images [batch, channels, height, width]."""
        return self.head(self.up(self.pool(self.blocks(image)).flatten(1)))


def _blocks(
    widths: Sequence[int], size: int, halves: Callable[[int], bool], options: dict[str, Any], norm: str
) -> tuple[nn.Sequential, int]:
    """Blocks from one of ``widths`` to the next for maps of ``size`` pixels, and the size of the last map."""
    blocks = nn.Sequential()
    for i, (before, width) in enumerate(itertools.pairwise(widths)):
        halve = size > 2 and halves(i)
        size = size // 2 if halve else size
        smaller = nn.MaxPool2d(2) if halve else nn.Identity()
        convolution = nn.Conv2d(before, width, bias=False, **options)
        normalize = nn.BatchNorm2d(width) if norm == "batch" else nn.GroupNorm(max(width // 8, 1), width)
        blocks.append(nn.Sequential(smaller, convolution, normalize, nn.ReLU()))
    return blocks, size


@model(name="mlp")
class MultilayerPerceptron(nn.Module):
    """Linear layers with an activation between; the input is flattened.

    ``hidden`` has a width a layer, ``dropout`` is the share left out behind each; ``final`` is a function of the
    output. Reads [batch, ...], ``in_features`` numbers a row, and gives [batch, num_classes]; with ``squeeze`` and one
    output, [batch]. Taps: ``feature`` (what the head reads), ``head``.

    >>> models.mlp(hidden=[16], in_features=64, num_classes=3)(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 3])
    """

    def __init__(
        self,
        *,
        hidden: list[Count] = (128,),  # type: ignore[assignment]
        activation: Literal["relu", "leaky_relu", "gelu", "tanh", "silu"] = "relu",
        final: Literal["none", "sigmoid", "tanh", "relu"] = "none",
        dropout: Fraction = 0.0,
        squeeze: bool = False,
        in_features: Size = "auto",
        num_classes: Size = "auto",
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = int(in_features)
        for width in hidden:
            layers += [nn.Linear(before, width), ACTIVATIONS[activation]()]
            layers += [nn.Dropout(dropout)] if dropout else []
            before = width
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(before, int(num_classes))
        self.final = ACTIVATIONS[final]()
        self.squeeze = squeeze
        self.tap_points = {"feature": "head:input", "head": "head"}

    def forward(self, input: Tensor) -> Tensor:
        """[batch, outputs] of [batch, ...]; with ``squeeze`` and one output, [batch]."""
        output = self.final(self.head(self.body(input.flatten(1))))
        return output.squeeze(1) if self.squeeze else output


@model
def linear(*, in_features: Size = "auto", out_features: Size = "auto", bias: bool = True) -> nn.Module:
    """A linear map of the last axis: [..., in_features] to [..., out_features]; ``bias`` adds a constant.

    >>> models.linear(in_features=8, out_features=3)(torch.zeros(2, 5, 8)).shape
    torch.Size([2, 5, 3])
    """
    return nn.Linear(int(in_features), int(out_features), bias=bias)


@model(name="random_features")
class RandomFeatures(nn.Module):
    """A frozen random linear map, then ReLU: ``relu(x P)`` with the entries of P normal of variance ``1 / in_features``.

    Reads [rows, ...], ``in_features`` numbers a row, and gives [rows, features], not negative. Nothing is trained.

    >>> models.random_features(features=16, in_features=8)(torch.zeros(2, 8)).shape
    torch.Size([2, 16])
    """

    def __init__(self, *, features: Count = 512, in_features: Size = "auto") -> None:
        super().__init__()
        self.register_buffer("projection", torch.randn(int(in_features), features) / int(in_features) ** 0.5)

    def forward(self, value: Tensor) -> Tensor:
        """[rows, features] of [rows, in_features]."""
        return (value.flatten(1) @ self.get_buffer("projection")).relu()


@model(name="linear_classifier")
class LinearClassifier(nn.Module):
    """Multinomial logistic regression on the flattened input.

    Reads [batch, ...], ``in_features`` numbers a row, and gives logits [batch, num_classes]. Taps: ``feature`` (the
    flattened input), ``head``.

    >>> models.linear_classifier(in_features=64, num_classes=3)(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 3])
    """

    def __init__(self, *, in_features: Size = "auto", num_classes: Size = "auto") -> None:
        super().__init__()
        self.head = nn.Linear(int(in_features), int(num_classes))
        self.tap_points = {"feature": "head:input", "head": "head"}

    def forward(self, image: Tensor) -> Tensor:
        """Logits [batch, classes]."""
        return self.head(image.flatten(1))


@model(name="row_values")
class RowValues(nn.Module):
    """One free number in (0, 1) for each row of the training data, ``initial`` at first.

    ``rows`` is the largest row number plus one. Reads an ``index`` [batch] (int64) and gives [batch], the sigmoid of
    what is trained.

    >>> models.row_values(rows=10, initial=0.25)(torch.tensor([3, 7])).detach()
    tensor([0.2500, 0.2500])
    """

    def __init__(self, *, rows: Size = "auto", initial: Fraction = 0.5) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.full((int(rows),), initial).logit())

    def forward(self, index: Tensor) -> Tensor:
        """[batch] of row numbers [batch] (int64)."""
        return self.logits[index].sigmoid()


@model(name="row_vectors")
class RowVectors(nn.Module):
    """One free vector for each row of the data, normal at first: latents or inputs to be optimized.

    ``rows`` is the largest row number plus one; ``spread`` the standard deviation at first, 0 for vectors that start at zero. Reads an ``index`` [batch] (int64) and gives [batch, features].

    >>> models.row_vectors(rows=10, features=4)(torch.tensor([3, 7, 7])).shape
    torch.Size([3, 4])
    """

    def __init__(self, *, rows: Size = "auto", features: Count, spread: NonNegative = 1.0) -> None:
        super().__init__()
        self.vectors = nn.Parameter(spread * torch.randn(int(rows), features))

    def forward(self, index: Tensor) -> Tensor:
        """[batch, features] of row numbers [batch] (int64)."""
        return self.vectors[index]
