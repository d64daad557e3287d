"""Autoencoders of vectors."""

from __future__ import annotations

import itertools
from typing import Literal

from torch import Tensor, nn

from kdrun.registry import model
from kdrun.types import Count, Size

__all__ = ["EmbeddingAutoencoder"]


@model(name="embedding_autoencoder")
class EmbeddingAutoencoder(nn.Module):
    """Perceptrons to a Gaussian over ``latent`` numbers, and back (Kingma & Welling, 2014): a density model of vectors.

    ``hidden`` are the widths of the encoder's layers, with ReLU; the decoder's are the same in reverse. ``output: sigmoid`` keeps
    reconstructions in (0, 1). Reads ``features`` [batch, in_features] and ``noise`` [batch, latent], standard normal, and gives
    ``reconstruction`` [batch, in_features] of ``mean + deviation · noise``, with ``mean`` and ``log_variance`` [batch, latent]; the deviation is
    ``exp(log_variance / 2)``.

    >>> network = models.embedding_autoencoder(hidden=[8], latent=2, in_features=4)
    >>> found = network(torch.zeros(3, 4), torch.zeros(3, 2))
    >>> {name: tuple(value.shape) for name, value in found.items()}
    {'reconstruction': (3, 4), 'mean': (3, 2), 'log_variance': (3, 2)}
    """

    def __init__(
        self,
        *,
        hidden: list[Count] = (128, 32),  # type: ignore[assignment]
        latent: Count = 8,
        output: Literal["linear", "sigmoid"] = "linear",
        in_features: Size = "auto",
    ) -> None:
        super().__init__()
        widths = [int(in_features), *hidden]
        self.encoder = _perceptron(widths)
        self.mean, self.log_variance = nn.Linear(widths[-1], latent), nn.Linear(widths[-1], latent)
        last = [nn.Linear(widths[1] if hidden else latent, widths[0])]
        self.decoder = nn.Sequential(_perceptron([latent, *reversed(hidden)]), *last)
        if output == "sigmoid":
            self.decoder.append(nn.Sigmoid())

    def forward(self, features: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """``reconstruction`` [batch, in_features], ``mean`` and ``log_variance`` [batch, latent]."""
        hidden = self.encoder(features.flatten(1))
        mean, log_variance = self.mean(hidden), self.log_variance(hidden)
        found = self.decoder(mean + (0.5 * log_variance).exp() * noise)
        return {"reconstruction": found, "mean": mean, "log_variance": log_variance}


def _perceptron(widths: list[int]) -> nn.Sequential:
    """Linear layers between these widths, each followed by a ReLU."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers)
