"""Diffusion in continuous time: noise levels, conversions between what networks predict, and deterministic steps.

A noisy sample is ``x_t = α_t · signal + σ_t · noise`` with ``α² + σ² = 1`` and ``t`` from 0 (clean) towards 1 (noise). All
functions take ``t`` [batch], or one number for all rows; samples are [batch, ...].
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from kdrun.registry import op
from kdrun.types import NonNegative, Positive

__all__ = [
    "ddim_step",
    "noise_levels",
    "noisy_from_signal",
    "signal_from_noisy",
    "signal_from_prediction",
    "signal_ode_step",
    "signal_to_noise_weight",
]


def noise_levels(t: Tensor, schedule: str = "cosine") -> tuple[Tensor, Tensor]:
    """``(α_t, σ_t)`` of times in [0, 1]: ``cos(πt/2), sin(πt/2)``, or the variance-preserving linear schedule.

    ``linear`` is ``α² = exp(-(0.1 t + 9.95 t²))``, the continuous form of betas from 0.1 to 20 (Song et al., 2021).
    """
    if schedule == "cosine":
        angle = t * (math.pi / 2)
        return angle.cos(), angle.sin()
    log_square = -(0.1 * t + 9.95 * t.square())
    return (log_square / 2).exp(), (-torch.expm1(log_square)).clamp_min(0).sqrt()


def _levels(t: Tensor, like: Tensor, schedule: str) -> tuple[Tensor, Tensor]:
    shape = (-1, *(1,) * (like.dim() - 1))
    alpha, sigma = noise_levels(t, schedule)
    return alpha.reshape(shape), sigma.reshape(shape)


def _falling(sigma: Tensor, next_sigma: Tensor) -> Tensor:
    """``σ_s / σ_t``, and 1 where no noise is left: a time drawn uniformly may be 0, from where the only step is none."""
    return torch.where(sigma > 0, next_sigma / sigma, 1.0)


@op
def noisy_from_signal(
    signal: Tensor, noise: Tensor, t: Tensor, *, schedule: Literal["cosine", "linear"] = "cosine"
) -> Tensor:
    """``α_t · signal + σ_t · noise``."""
    alpha, sigma = _levels(t, signal, schedule)
    return alpha * signal + sigma * noise


@op
def signal_from_noisy(
    noisy: Tensor, noise: Tensor, t: Tensor, *, schedule: Literal["cosine", "linear"] = "cosine"
) -> Tensor:
    """``(x_t - σ_t · noise) / α_t``: the signal that goes with this noise."""
    alpha, sigma = _levels(t, noisy, schedule)
    return (noisy - sigma * noise) / alpha


@op
def signal_from_prediction(
    prediction: Tensor,
    noisy: Tensor,
    t: Tensor,
    *,
    predicts: Literal["signal", "noise", "velocity"] = "signal",
    schedule: Literal["cosine", "linear"] = "cosine",
) -> Tensor:
    """The clean signal that a network means which predicts the signal, the noise ε or the velocity ``α ε - σ signal``."""
    if predicts == "signal":
        return prediction
    alpha, sigma = _levels(t, noisy, schedule)
    return (noisy - sigma * prediction) / alpha if predicts == "noise" else alpha * noisy - sigma * prediction


@op
def ddim_step(
    noisy: Tensor, signal: Tensor, t: Tensor, earlier: Tensor, *, schedule: Literal["cosine", "linear"] = "cosine"
) -> Tensor:
    """One deterministic step from time ``t`` to ``earlier``, given the predicted clean signal (Song, Meng & Ermon, 2021).

    ``x_s = α_s · signal + (σ_s / σ_t) (x_t - α_t · signal)``.
    """
    alpha, sigma = _levels(t, noisy, schedule)
    next_alpha, next_sigma = _levels(earlier, noisy, schedule)
    return next_alpha * signal + _falling(sigma, next_sigma) * (noisy - alpha * signal)


@op
def signal_ode_step(
    signal: Tensor, prediction: Tensor, t: Tensor, earlier: Tensor, *, schedule: Literal["cosine", "linear"] = "cosine"
) -> dict[str, Tensor]:
    """One step of the signal along the deterministic path (Gu et al., 2023): a convex combination with the prediction.

    ``y_s = y_t + κ (f - y_t)`` with ``κ = 1 - (σ_s α_t) / (α_s σ_t)`` in [0, 1) for ``earlier`` s ≤ t. The same step as
    ``ddim_step``, written for ``y = (x - σ ε) / α``. Returns ``signal`` [batch, ...] and ``share`` κ [batch].
    """
    alpha, sigma = noise_levels(t, schedule)
    next_alpha, next_sigma = noise_levels(earlier, schedule)
    share = 1 - _falling(sigma, next_sigma) * alpha / next_alpha
    spread = share.reshape(-1, *(1,) * (signal.dim() - 1))
    return {"signal": signal + spread * (prediction - signal), "share": share}


@op
def signal_to_noise_weight(
    t: Tensor, *, lowest: NonNegative = 1.0, highest: Positive = 5.0, schedule: Literal["cosine", "linear"] = "cosine"
) -> Tensor:
    """``α² / σ²`` clipped to [lowest, highest]: a weight for losses on the predicted signal (Hang et al., 2023)."""
    alpha, sigma = noise_levels(t, schedule)
    return (alpha.square() / sigma.square().clamp_min(1e-12)).clamp(lowest, highest)
