"""Losses of games between networks."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from kdrun.registry import op

__all__ = ["gan_discriminator_loss", "gan_generator_loss"]


@op
def gan_discriminator_loss(
    fake: Tensor, real: Tensor, *, mode: Literal["bce", "bce_with_logits", "hinge"] = "bce_with_logits"
) -> Tensor:
    """What a discriminator minimizes: the sum of the batch means of its two terms (Goodfellow et al., 2014).

    ``fake`` and ``real`` [batch] are probabilities (``bce``) or scores: ``softplus(fake) + softplus(-real)``, or the hinge
    ``relu(1 + fake) + relu(1 - real)``.
    """
    if mode == "bce":
        return -torch.log1p(-fake.clamp_max(1 - 1e-7)).mean() - real.clamp_min(1e-7).log().mean()
    if mode == "hinge":
        return (1 + fake).relu().mean() + (1 - real).relu().mean()
    return F.softplus(fake).mean() + F.softplus(-real).mean()


@op
def gan_generator_loss(fake: Tensor, *, mode: Literal["bce", "bce_with_logits", "hinge"] = "bce_with_logits") -> Tensor:
    """What a generator minimizes, without saturating: ``-log p``, ``softplus(-score)`` or ``-score`` (hinge), batch mean."""
    if mode == "bce":
        return -fake.clamp_min(1e-7).log().mean()
    return -fake.mean() if mode == "hinge" else F.softplus(-fake).mean()
