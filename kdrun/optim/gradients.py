"""Gradient transforms: from named gradients to named gradients, between backward and the optimizer's step.

Each takes the gradients and the parameters of what an update trains, by name (``role.path``), then the
tensors that the update hands it under ``from``.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from kdrun.registry import gradient
from kdrun.types import Positive

__all__ = ["clip_norm", "clip_value", "mask", "reference_projection", "sign", "subspace_projection"]

Named = dict[str, Tensor]


@gradient
def clip_norm(gradients: Named, parameters: Named, *, max_norm: Positive) -> Named:
    """Scale all gradients so that their joint L2 norm is at most ``max_norm``.

    ``g · min(1, max_norm / (norm + 1e-6))``; one factor for all, so that the direction stays.

    >>> gradients = {"net.weight": torch.tensor([3.0]), "net.bias": torch.tensor([4.0])}  # together of norm 5
    >>> optim.clip_norm(gradients, gradients, max_norm=1.0)
    {'net.weight': tensor([0.6000]), 'net.bias': tensor([0.8000])}
    """
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients.values()]))
    factor = (max_norm / (norm + 1e-6)).clamp_max(1.0)
    return {name: g * factor for name, g in gradients.items()}


@gradient
def clip_value(gradients: Named, parameters: Named, *, max_value: Positive) -> Named:
    """Clamp every entry of every gradient to [-max_value, max_value].

    >>> gradients = {"net.weight": torch.tensor([3.0, -0.5])}
    >>> optim.clip_value(gradients, gradients, max_value=1.0)
    {'net.weight': tensor([ 1.0000, -0.5000])}
    """
    return {name: g.clamp(-max_value, max_value) for name, g in gradients.items()}


@gradient
def sign(gradients: Named, parameters: Named) -> Named:
    """Replace every entry of every gradient by its sign: -1, 0 or 1.

    >>> gradients = {"net.weight": torch.tensor([3.0, -0.5, 0.0])}
    >>> optim.sign(gradients, gradients)
    {'net.weight': tensor([ 1., -1.,  0.])}
    """
    return {name: g.sign() for name, g in gradients.items()}


@gradient
def mask(gradients: Named, parameters: Named, masks: Mapping[str, Tensor]) -> Named:
    """Multiply gradients by masks of the same names and shapes; those without a mask stay as they are.

    >>> gradients = {"net.weight": torch.tensor([3.0, 4.0]), "net.bias": torch.tensor([5.0])}
    >>> optim.mask(gradients, gradients, {"net.weight": torch.tensor([1.0, 0.0])})
    {'net.weight': tensor([3., 0.]), 'net.bias': tensor([5.])}
    """
    return {name: g * masks[name] if name in masks else g for name, g in gradients.items()}


@gradient
def subspace_projection(gradients: Named, parameters: Named, bases: Mapping[str, Tensor]) -> Named:
    """Remove the part of gradients that lies in a stored subspace of a layer's inputs (Saha, Garg & Roy, 2021, GPM).

    ``bases`` maps a parameter's name to an orthonormal basis B [inputs, rank]; its gradient, read as a matrix [outputs,
    inputs], becomes ``g - g B Bᵀ``. Parameters without a basis stay as they are.

    >>> gradients = {"net.weight": torch.tensor([[3.0, 4.0]])}
    >>> optim.subspace_projection(gradients, gradients, {"net.weight": torch.tensor([[1.0], [0.0]])})
    {'net.weight': tensor([[0., 4.]])}
    """
    projected = dict(gradients)
    for name, basis in bases.items():
        if name in gradients and basis.numel():
            flat = gradients[name].flatten(1)
            projected[name] = (flat - flat @ basis @ basis.T).view_as(gradients[name])
    return projected


@gradient
def reference_projection(gradients: Named, parameters: Named, reference: Mapping[str, Tensor]) -> Named:
    """Project gradients onto the half-space of a reference gradient (Chaudhry et al., 2019, A-GEM).

    ``g - (<g, r> / <r, r>) r`` where the inner product over all parameters that ``reference`` r names is negative, else
    g: a step that does not raise the reference's loss. ``reference`` maps names to gradients of the same shapes.

    >>> gradients = {"net.weight": torch.tensor([1.0, -2.0])}
    >>> optim.reference_projection(gradients, gradients, {"net.weight": torch.tensor([0.0, 1.0])})
    {'net.weight': tensor([1., 0.])}
    """
    names = [n for n in gradients if n in reference]
    inner = sum((gradients[n] * reference[n]).sum() for n in names)
    square = sum(reference[n].square().sum() for n in names)
    factor = (torch.as_tensor(inner) / torch.as_tensor(square).clamp_min(1e-12)).clamp_max(0.0)
    return {n: g - factor * reference[n] if n in reference else g for n, g in gradients.items()}
