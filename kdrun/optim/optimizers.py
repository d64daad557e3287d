"""Optimizers of torch by name, and one for perturbations; parameter groups come from the engine."""

from __future__ import annotations

from typing import Any

import torch

from kdrun.errors import InputError, nearest
from kdrun.registry import optimizer
from kdrun.types import Fraction, NonNegative, Positive

__all__ = ["adam", "adamw", "projected_sign_descent", "sgd", "torch_optimizer"]


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
    """Stochastic gradient descent with momentum, on parameters or parameter groups.

    ``v ← momentum·v + (1 - dampening)·(g + weight_decay·p); p ← p - lr·v``, where the first v is the gradient; with
    ``nesterov`` the step is ``g + momentum·v`` instead of v.

    >>> weight = torch.tensor([1.0], requires_grad=True)
    >>> weight.grad = torch.tensor([2.0])
    >>> optim.sgd([weight], lr=0.25).step()
    >>> weight.detach()
    tensor([0.5000])
    """
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
    """Adam (Kingma & Ba, 2015), on parameters or parameter groups; weight decay enters the gradient.

    >>> weight = torch.tensor([1.0], requires_grad=True)
    >>> weight.grad = torch.tensor([20.0])
    >>> optim.adam([weight], lr=0.1).step()
    >>> weight.detach()  # the first step has the length of the rate, whatever the gradient's
    tensor([0.9000])
    """
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
    """Adam with decoupled weight decay (Loshchilov & Hutter, 2019), on parameters or parameter groups.

    >>> weight = torch.tensor([1.0], requires_grad=True)
    >>> weight.grad = torch.tensor([0.0])
    >>> optim.adamw([weight], lr=0.1, weight_decay=0.5).step()
    >>> weight.detach()  # 1 - 0.1 · 0.5
    tensor([0.9500])
    """
    return _adaptive(torch.optim.AdamW, parameters, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)


def _adaptive(kind: Any, parameters: Any, *, betas: list[Fraction], **options: Any) -> torch.optim.Optimizer:
    return kind(parameters, betas=(betas[0], betas[1]), fused=_fused(parameters), **options)


@optimizer
def projected_sign_descent(parameters: Any, *, lr: Positive, bound: Positive) -> torch.optim.Optimizer:
    """Steps of one length along the gradient's signs, back within ±``bound`` after each (Madry et al., 2018, as a descent).

    ``p ← clamp(p - lr·sign(g), -bound, bound)``, element by element; where the gradient is 0 nothing moves but what is out of bounds.

    >>> weight = torch.tensor([0.0, 0.28], requires_grad=True)
    >>> weight.grad = torch.tensor([5.0, -0.1])
    >>> optim.projected_sign_descent([weight], lr=0.1, bound=0.3).step()
    >>> weight.detach()
    tensor([-0.1000,  0.3000])
    """
    return _ProjectedSignDescent(parameters, {"lr": lr, "bound": bound})


class _ProjectedSignDescent(torch.optim.Optimizer):
    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.sub_(group["lr"] * p.grad.sign()).clamp_(-group["bound"], group["bound"])


@optimizer
def torch_optimizer(
    parameters: Any, *, name: str, lr: Positive, options: dict[str, Any] | None = None
) -> torch.optim.Optimizer:
    """Any optimizer of ``torch.optim`` by its class name, with further ``options``.

    Raises ``InputError`` for an unknown name or an option that it does not take.

    >>> weight = torch.tensor([1.0], requires_grad=True)
    >>> type(optim.torch_optimizer([weight], name="RMSprop", lr=0.1, options={"alpha": 0.9})).__name__
    'RMSprop'
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
