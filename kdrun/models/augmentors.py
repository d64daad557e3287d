"""Learned augmentations: models that change images, trained against what other models make of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdrun.errors import InputError
from kdrun.registry import model
from kdrun.types import Count, NonNegative, Size

__all__ = ["AffineAugmentor", "LatentPerturber", "MaskMixer", "VariationalAutoencoder"]


@model(name="affine_augmentor")
class AffineAugmentor(nn.Module):
    """Random affine maps whose spread is learned (Nix et al., 2023): ``p = mean + exp(log_width) ∘ noise``, six entries.

    The inverse map is ``[I | 0] + p ∘ (½, ½, 1, ½, ½, 1)`` in row order, in coordinates from -1 to 1; sampling is
    bilinear, zero outside. ``width`` is where the spread starts, one number or six; ``learn_mean`` trains a mean, too,
    0 at first. Reads ``image`` [batch, channels, h, w] and ``noise`` [batch, 6], such as uniform numbers from -1 to 1;
    gives images of the same shape. Raises ``InputError`` for another number of widths.

    >>> image = torch.rand(2, 1, 8, 8)
    >>> torch.allclose(models.affine_augmentor()(image, torch.zeros(2, 6)), image, atol=1e-5)
    True
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


@model(name="mask_mixer")
class MaskMixer(nn.Module):
    """Two images mixed by a learned soft mask: ``m ∘ image + (1 - m) ∘ other`` (Nix et al., 2023).

    Three 3×3 convolutions, ``width`` channels inside, find the mask m, in (0, 1), from both images and noise. Reads
    ``image``, ``other`` and ``noise`` (such as standard normal numbers), all [batch, in_channels, h, w]; gives images
    of that shape. Tap: ``share`` [batch], the mask's mean, which is the share of the first image.

    >>> image = torch.rand(2, 1, 8, 8)
    >>> mixed = models.mask_mixer(in_channels=1)(image, image, torch.randn(2, 1, 8, 8))
    >>> torch.allclose(mixed, image)
    True
    """

    def __init__(self, *, width: Count = 16, in_channels: Size = "auto") -> None:
        super().__init__()
        self.mask = nn.Sequential(
            nn.Conv2d(3 * int(in_channels), width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, 1, 3, padding=1),
            nn.Sigmoid(),
        )
        self.share = nn.Identity()

    def forward(self, image: Tensor, other: Tensor, noise: Tensor) -> Tensor:
        """All of [batch, channels, h, w]; ``noise`` such as standard normal numbers."""
        mask = self.mask(torch.cat([image, other, noise], 1))
        self.share(mask.mean((1, 2, 3)))
        return mask * image + (1 - mask) * other


@model(name="variational_autoencoder")
class VariationalAutoencoder(nn.Module):
    """A Gaussian code of an image and the image from it (Kingma & Welling, 2014), by perceptrons with one ``hidden`` layer.

    Reads ``image`` [batch, in_channels, image_size, image_size] and standard normal ``noise`` [batch, latent]; outputs
    the ``image`` of the code ``mean + exp(log_variance / 2) ∘ noise``, pixels in (0, 1), and ``mean`` and
    ``log_variance`` [batch, latent]. Inner modules: a call ``until: mean`` gives the code, ``decoder`` makes images of
    codes.

    >>> network = models.variational_autoencoder(latent=4, in_channels=1, image_size=8)
    >>> found = network(torch.rand(2, 1, 8, 8), torch.randn(2, 4))
    >>> found["image"].shape, found["mean"].shape
    (torch.Size([2, 1, 8, 8]), torch.Size([2, 4]))
    """

    def __init__(
        self, *, hidden: Count = 128, latent: Count = 16, in_channels: Size = "auto", image_size: Size = "auto"
    ) -> None:
        super().__init__()
        shape = (int(in_channels), int(image_size), int(image_size))
        pixels = shape[0] * shape[1] * shape[2]
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(pixels, hidden), nn.ReLU())
        self.log_variance = nn.Linear(hidden, latent)
        self.mean = nn.Linear(hidden, latent)
        self.decoder = nn.Sequential(
            nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, pixels), nn.Sigmoid(), nn.Unflatten(1, shape)
        )

    def forward(self, image: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """Images [batch, channels, side, side] and standard normal ``noise`` [batch, latent] to image, mean and log variance."""
        hidden = self.encoder(image)
        log_variance, mean = self.log_variance(hidden), self.mean(hidden)
        code = mean + (0.5 * log_variance).exp() * noise
        return {"image": self.decoder(code), "mean": mean, "log_variance": log_variance}


@model(name="latent_perturber")
class LatentPerturber(nn.Module):
    """Codes moved by Gaussian steps that depend on them: ``z + shift(z) + spread(z) ∘ noise``; at first by none.

    A perceptron of one ``hidden`` layer finds both. Reads ``code`` and standard normal ``noise``, both [batch,
    in_features]; gives [batch, in_features].

    >>> models.latent_perturber(in_features=3)(torch.ones(1, 3), torch.randn(1, 3)).detach()
    tensor([[1., 1., 1.]])
    """

    def __init__(self, *, hidden: Count = 64, in_features: Size = "auto") -> None:
        super().__init__()
        size = int(in_features)
        self.body = nn.Sequential(nn.Linear(size, hidden), nn.ReLU())
        self.step = nn.Linear(hidden, 2 * size)
        nn.init.zeros_(self.step.weight)
        nn.init.zeros_(self.step.bias)

    def forward(self, code: Tensor, noise: Tensor) -> Tensor:
        """Codes and standard normal noise, both [batch, features]."""
        shift, spread = self.step(self.body(code)).chunk(2, dim=1)
        return code + shift + spread * noise
