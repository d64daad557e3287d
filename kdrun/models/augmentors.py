"""Learned augmentations: models that change images, trained against what other models make of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdrun.errors import InputError
from kdrun.registry import model
from kdrun.types import NonNegative

__all__ = ["AffineAugmentor"]


@model(name="affine_augmentor")
class AffineAugmentor(nn.Module):
    """Random affine maps whose spread is learned (Nix et al., 2023): ``p = mean + exp(log_width) ∘ noise``, six entries.

    The inverse map is ``[I | 0] + p ∘ (½, ½, 1, ½, ½, 1)`` in row order, in coordinates from -1 to 1; sampling is
    bilinear, zero outside. ``width`` is where the spread starts, one number or six; ``learn_mean`` trains a mean too.
    """

    unit: Tensor
    identity: Tensor

    def __init__(self, *, width: NonNegative | list[NonNegative] = 0.22313, learn_mean: bool = False) -> None:
        super().__init__()
        widths = list(width) if isinstance(width, list | tuple) else [width] * 6
        if len(widths) != 6:
            raise InputError(f"an affine map has six entries, got {len(widths)} widths")
        self.log_width = nn.Parameter(torch.tensor(widths, dtype=torch.float32).clamp_min(1e-8).log())
        self.mean = nn.Parameter(torch.zeros(6), requires_grad=learn_mean)
        self.register_buffer("unit", torch.tensor([0.5, 0.5, 1.0, 0.5, 0.5, 1.0]), persistent=False)
        self.register_buffer("identity", torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]), persistent=False)

    def forward(self, image: Tensor, noise: Tensor) -> Tensor:
        """Images [batch, channels, h, w] moved by ``noise`` [batch, 6], such as uniform numbers from -1 to 1."""
        entries = self.mean + self.log_width.exp() * noise
        matrix = (self.identity + entries * self.unit).view(-1, 2, 3)
        grid = F.affine_grid(matrix, list(image.shape), align_corners=False)
        return F.grid_sample(image, grid, align_corners=False, padding_mode="zeros")
