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
    """A sample at time t, ``α_t · signal + σ_t · noise``; in the shape of the signal, [batch, ...].

    ``t`` [batch] in [0, 1], or one number for all rows.

    >>> signal, noise = torch.tensor([[1.0], [1.0]]), torch.tensor([[5.0], [5.0]])
    >>> ops.noisy_from_signal(signal, noise, torch.tensor([0.0, 0.5]))  # clean, and (1 + 5) / √2
    tensor([[1.0000],
            [4.2426]])
    """
    alpha, sigma = _levels(t, signal, schedule)
    return alpha * signal + sigma * noise


@op
def signal_from_noisy(
    noisy: Tensor, noise: Tensor, t: Tensor, *, schedule: Literal["cosine", "linear"] = "cosine"
) -> Tensor:
    """The signal that goes with this noise, ``(x_t - σ_t · noise) / α_t``: undoes ``noisy_from_signal``, [batch, ...].

    ``t`` [batch], or one number for all rows, below 1: there nothing of the signal is left.

    >>> noisy = ops.noisy_from_signal(torch.tensor([[2.0]]), torch.tensor([[5.0]]), torch.tensor([0.5]))
    >>> ops.signal_from_noisy(noisy, torch.tensor([[5.0]]), torch.tensor([0.5]))
    tensor([[2.0000]])
    """
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
    """The clean signal that a network means, whatever it predicts: [batch, ...].

    A network ``predicts`` the signal itself, the noise ε, or the velocity ``v = α ε - σ signal`` (Salimans & Ho, 2022):
    then the signal is ``(x_t - σ ε) / α`` or ``α x_t - σ v``. ``prediction`` and ``noisy`` of one shape [batch, ...],
    ``t`` [batch].

    >>> ops.signal_from_prediction(torch.tensor([[5.0]]), torch.tensor([[2.0]]), torch.tensor([0.0]), predicts="noise")
    tensor([[2.]])
    """
    if predicts == "signal":
        return prediction
    alpha, sigma = _levels(t, noisy, schedule)
    return (noisy - sigma * prediction) / alpha if predicts == "noise" else alpha * noisy - sigma * prediction


@op
def ddim_step(
    noisy: Tensor, signal: Tensor, t: Tensor, earlier: Tensor, *, schedule: Literal["cosine", "linear"] = "cosine"
) -> Tensor:
    """One deterministic step to an earlier time, given the predicted clean signal (Song, Meng & Ermon, 2021).

    ``x_s = α_s · signal + (σ_s / σ_t) (x_t - α_t · signal)``. ``noisy`` and ``signal`` of one shape [batch, ...], ``t``
    and ``earlier`` [batch] in [0, 1].

    >>> noisy, signal = torch.tensor([[5.0]]), torch.tensor([[2.0]])
    >>> ops.ddim_step(noisy, signal, torch.tensor([1.0]), torch.tensor([0.5]))  # (2 + 5) / √2
    tensor([[4.9497]])
    >>> ops.ddim_step(noisy, signal, torch.tensor([1.0]), torch.tensor([0.0]))  # at time 0 the signal is left
    tensor([[2.]])
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
    ``ddim_step``, written for ``y = (x - σ ε) / α``. ``signal`` y and ``prediction`` f of one shape [batch, ...], ``t``
    and ``earlier`` [batch]. Fields: ``signal`` [batch, ...] and ``share`` κ [batch].

    >>> ops.signal_ode_step(torch.tensor([[0.0]]), torch.tensor([[4.0]]), torch.tensor([0.5]), torch.tensor([0.25]))
    {'signal': tensor([[2.3431]]), 'share': tensor([0.5858])}
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
    """``α² / σ²`` clipped to [lowest, highest]: a weight for losses on the predicted signal (Hang et al., 2023).

    ``t`` of any shape, in [0, 1]; the weight has the same.

    >>> ops.signal_to_noise_weight(torch.tensor([0.0, 0.4, 1.0]))
    tensor([5.0000, 1.8944, 1.0000])
    """
    alpha, sigma = noise_levels(t, schedule)
    return (alpha.square() / sigma.square().clamp_min(1e-12)).clamp(lowest, highest)
