"""How many numbers of models are trained, or were changed."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import Module

from kdrun.registry import reduce, shape_of

__all__ = ["changed_parameters", "trainable_parameters"]


@reduce(random=False)
def changed_parameters(model: Module, reference: Module) -> Tensor:
    """How many parameters of ``model`` are not those of ``reference``, by name, position and value: a scalar (float64).

    Parameters whose name or shape the reference has not count as changed.

    >>> before, after = (parts.linear_layer(torch.tensor([[1.0], [value]])) for value in (2.0, 5.0))
    >>> parts.changed_parameters(after, before).item()
    1.0
    """
    before, changed = dict(reference.named_parameters()), 0
    for name, value in model.named_parameters():
        known = before.get(name)
        if known is None or known.shape != value.shape:
            changed += value.numel()
        else:
            changed += int(value.ne(known).sum())
    return torch.tensor(float(changed), dtype=torch.float64)


@shape_of("reduce", "changed_parameters")
def changed_shape(model: Module, reference: Module) -> Tensor:
    """A number."""
    return torch.zeros((), dtype=torch.float64)


@reduce(random=False)
def trainable_parameters(model: Module, *, without: list[str] = ()) -> Tensor:  # type: ignore[assignment]
    """How many parameters of a model a training of it may change, but for those of the modules ``without``: a scalar (float64).

    What adapters freeze does not count, and a parameter that several layers share counts once. Modules are named by their paths or taps,
    as ``head``.

    >>> inside = {"model": "encoder_transformer", "vocabulary": 20, "num_classes": 3}
    >>> adapted = models.scaled_adapters(base=inside, count=5, trainable=["head"], granularity="scalar", shared=True)
    >>> parts.trainable_parameters(adapted).item(), parts.trainable_parameters(adapted, without=["head"]).item()
    (152.0, 5.0)
    """
    points = getattr(model, "tap_points", {})
    apart = tuple(f"{points.get(name, name)}." for name in without)
    found = [p for n, p in model.named_parameters() if p.requires_grad and not n.startswith(apart)]
    return torch.tensor(float(sum(p.numel() for p in found)), dtype=torch.float64)
