"""Losses of games between networks, and perturbations within bounds."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from kdrun.registry import op
from kdrun.types import Count, Positive

__all__ = ["gan_discriminator_loss", "gan_generator_loss", "linf_bound"]


@op
def gan_discriminator_loss(
    fake: Tensor, real: Tensor, *, mode: Literal["bce", "bce_with_logits", "hinge"] = "bce_with_logits"
) -> Tensor:
    """What a discriminator minimizes: the sum of the batch means of its two terms (Goodfellow et al., 2014).

    ``fake`` and ``real`` [batch] are probabilities (``bce``) or scores: ``softplus(fake) + softplus(-real)``, or the
    hinge ``relu(1 + fake) + relu(1 - real)``. A scalar, not negative.

    >>> ops.gan_discriminator_loss(torch.tensor([0.0]), torch.tensor([0.0]))  # it cannot tell them apart: 2 ln 2
    tensor(1.3863)
    >>> ops.gan_discriminator_loss(torch.tensor([-1.0]), torch.tensor([1.0]), mode="hinge")
    tensor(0.)
    """
    if mode == "bce":
        return -torch.log1p(-fake.clamp_max(1 - 1e-7)).mean() - real.clamp_min(1e-7).log().mean()
    if mode == "hinge":
        return (1 + fake).relu().mean() + (1 - real).relu().mean()
    return F.softplus(fake).mean() + F.softplus(-real).mean()


@op
def gan_generator_loss(fake: Tensor, *, mode: Literal["bce", "bce_with_logits", "hinge"] = "bce_with_logits") -> Tensor:
    """What a generator minimizes, without saturating (Goodfellow et al., 2014): a scalar.

    The batch mean of ``-log p`` (``bce``), ``softplus(-score)`` or ``-score`` (``hinge``). ``fake`` [batch], the
    discriminator's probabilities p or scores.

    >>> ops.gan_generator_loss(torch.tensor([0.0])), ops.gan_generator_loss(torch.tensor([2.0]), mode="hinge")
    (tensor(0.6931), tensor(-2.))
    """
    if mode == "bce":
        return -fake.clamp_min(1e-7).log().mean()
    return -fake.mean() if mode == "hinge" else F.softplus(-fake).mean()


@op
def linf_bound(
    value: Tensor, *, bound: Positive, mode: Literal["clamp", "tanh"] = "clamp", size: Count | None = None
) -> Tensor:
    """A perturbation whose elements are within ±``bound``, in the units of pixels (8/255 of pixels from 0 to 1): the shape of ``value``.

    ``clamp`` cuts ``value`` off, without a gradient beyond the bound; ``tanh`` gives ``bound · tanh(value)``. With ``size`` the maps
    [batch, channels, h, w] are then brought to that many pixels a side by their nearest elements: row i reads row ``⌊i·h/size⌋``.

    >>> ops.linf_bound(torch.tensor([-1.0, 0.02, 1.0]), bound=0.1)
    tensor([-0.1000,  0.0200,  0.1000])
    >>> ops.linf_bound(torch.tensor([0.0, 100.0]), bound=0.1, mode="tanh")
    tensor([0.0000, 0.1000])
    """
    bounded = value.clamp(-bound, bound) if mode == "clamp" else bound * value.tanh()
    return bounded if size is None else F.interpolate(bounded, size=(size, size), mode="nearest")
