"""Networks that read a noisy sample and a time."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from kdrun.errors import InputError
from kdrun.registry import model
from kdrun.types import Count, Size

__all__ = ["ResidualDenoiser", "diffusers_unet", "time_features"]


def time_features(t: Tensor, count: int) -> Tensor:
    """Sines and cosines of ``t`` [batch] in [0, 1] at ``count`` / 2 frequencies from 1 to 1000: [batch, count]."""
    rates = torch.exp(torch.linspace(0.0, math.log(1000.0), count // 2, device=t.device))
    angles = t[:, None] * rates * (math.pi / 2)
    return torch.cat([angles.sin(), angles.cos()], 1)


def _per_row(t: Tensor | float, rows: Tensor) -> Tensor:
    return torch.as_tensor(t, dtype=rows.dtype, device=rows.device).expand(len(rows))


@model(name="residual_denoiser")
class ResidualDenoiser(nn.Module):
    """A residual perceptron on flattened samples; every block reads the time again.

    ``blocks`` of layer norm and two linear layers, ``width`` wide (twice that inside). Reads samples [batch,
    in_channels, image_size, image_size] and a ``time`` [batch], or one number, in [0, 1]; gives the shape of the
    samples. The last layer's weights start at zero: an untrained network says the same of every sample.

    >>> network = models.residual_denoiser(width=16, in_channels=1, image_size=8)
    >>> network(torch.randn(2, 1, 8, 8), 0.5).shape
    torch.Size([2, 1, 8, 8])
    """

    def __init__(
        self, *, width: Count = 192, blocks: Count = 3, in_channels: Size = "auto", image_size: Size = "auto"
    ) -> None:
        super().__init__()
        dim = int(in_channels) * int(image_size) ** 2
        self.clock = nn.Sequential(nn.Linear(32, width), nn.SiLU(), nn.Linear(width, width))
        self.enter = nn.Linear(dim, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))
            for _ in range(blocks)
        )
        self.leave = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, dim))
        nn.init.zeros_(self.leave.get_parameter("1.weight"))

    def forward(self, sample: Tensor, time: Tensor | float) -> Tensor:
        """[batch, ...] of samples [batch, ...] and times [batch], or one number, in [0, 1]."""
        clock = self.clock(time_features(_per_row(time, sample), 32))
        hidden = self.enter(sample.flatten(1))
        for block in self.blocks:
            hidden = hidden + block(hidden + clock)
        return self.leave(hidden).view_as(sample)


@model(extra="diffusion", requires=("diffusers",))
def diffusers_unet(
    *,
    channels: list[Count] = (128, 256, 256, 256),  # type: ignore[assignment]
    layers_per_block: Count = 2,
    attention: list[bool] = (False, True, True, False),  # type: ignore[assignment]
    in_channels: Size = "auto",
    image_size: Size = "auto",
) -> nn.Module:
    """The U-Net of diffusers (Ho et al., 2020; Dhariwal & Nichol, 2021); time in [0, 1].

    ``channels`` has a width a level, ``attention`` says which levels attend, ``layers_per_block`` how many residual
    blocks each has. Reads samples [batch, in_channels, image_size, image_size] and a ``time`` [batch], or one number;
    gives the shape of the samples. ``image_size`` is divisible by 2 once for each level but the last. Raises
    ``InputError`` if the two lists differ in length.

    >>> network = models.diffusers_unet(channels=[32, 32], attention=[False, True], in_channels=1, image_size=8)
    >>> network(torch.randn(2, 1, 8, 8), torch.tensor([0.1, 0.9])).shape
    torch.Size([2, 1, 8, 8])
    """
    from diffusers import UNet2DModel

    if len(attention) != len(channels):
        raise InputError(f"{len(channels)} levels need as many attention flags, got {len(attention)}")
    down = ["AttnDownBlock2D" if flag else "DownBlock2D" for flag in attention]
    up = ["AttnUpBlock2D" if flag else "UpBlock2D" for flag in reversed(attention)]
    network = UNet2DModel(
        sample_size=int(image_size),
        in_channels=int(in_channels),
        out_channels=int(in_channels),
        layers_per_block=layers_per_block,
        block_out_channels=tuple(channels),
        down_block_types=tuple(down),
        up_block_types=tuple(up),
    )
    return _Timed(network)


class _Timed(nn.Module):
    """A network of diffusers, whose clock runs from 0 to 999."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, sample: Tensor, time: Tensor | float) -> Tensor:
        """[batch, channels, height, width] of samples of that shape and times [batch], or one number."""
        return self.network(sample, 999 * _per_row(time, sample)).sample
