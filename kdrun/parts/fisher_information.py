"""How much a loss depends on each weight of a model, over data."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import Module

from kdrun.data.dataset import Dataset
from kdrun.errors import InputError
from kdrun.models.masks import masks_of
from kdrun.models.ties import is_linear
from kdrun.ops.classification import cross_entropy
from kdrun.registry import reduce, shape_of
from kdrun.runtime.context import Context
from kdrun.types import Count

__all__ = ["diagonal_fisher"]


@reduce(random=False)
def diagonal_fisher(
    model: Module,
    data: Dataset,
    *,
    of: Literal["all", "linear"] = "all",
    input: str = "tokens",
    target: str = "target",
    batch_size: Count = 16,
    context: Context,
) -> dict[str, Tensor]:
    """Squared gradients of the cross-entropy with the data's labels, of each weight by name (empirical Fisher information).

    Over one pass in the data's order, ``Σ n_b (∂CE_b/∂w)² / Σ n_b``, float32 in the shape of each weight: a batch's loss is
    its mean over the ``n_b`` labels that are not -100, and its gradient is squared as a whole; ``batch_size: 1`` squares those of
    single rows. The size of the batches matters: compare data sets at one size. ``of: linear`` takes the weights of linear
    layers alone, without the head. The model is in eval mode; the columns ``input`` [rows, ...] and ``target`` [rows, ...] (int64)
    are read. Raises ``InputError`` with ``of: linear`` for a model without linear layers.
    """
    wanted = _weights(model, of)
    sums = {name: torch.zeros_like(weight, dtype=torch.float32) for name, weight in wanted.items()}
    total = torch.zeros((), device=context.device)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for weight in wanted.values():
        weight.requires_grad_(True)
    autocast = context.hardware.autocast()
    masks = masks_of(model, data.info.columns, input)
    for batch in data.batches(batch_size, device=context.device, workers=context.hardware.workers):
        labels, named = batch[target], {word: batch[mask] for word, mask in masks.items()}
        with torch.enable_grad():
            if autocast is None:
                loss = _loss(model, batch[input], labels, named)
            else:
                with autocast():
                    loss = _loss(model, batch[input], labels, named)
        count = (labels != -100).sum()
        for name, gradient in zip(wanted, torch.autograd.grad(loss, list(wanted.values())), strict=True):
            sums[name] += count * gradient.float().square()
        total += count
    return {name: value / total for name, value in sums.items()}


@shape_of("reduce", "diagonal_fisher")
def diagonal_fisher_shape(
    model: Module, data: Dataset, *, of: Literal["all", "linear"] = "all", **options: Any
) -> dict[str, Tensor]:
    """A number a weight."""
    return {name: torch.zeros_like(weight, dtype=torch.float32) for name, weight in _weights(model, of).items()}


def _loss(model: Module, inputs: Tensor, labels: Tensor, named: dict[str, Tensor]) -> Tensor:
    output = model(inputs, **named)
    return cross_entropy(output if isinstance(output, Tensor) else output.logits, labels)


def _weights(model: Module, of: str) -> dict[str, Tensor]:
    if of == "all":
        return dict(model.named_parameters())
    head = getattr(model, "tap_points", {}).get("head")
    linear = {n: m for n, m in model.named_modules() if is_linear(m) and n != head}
    if not linear:
        raise InputError("the model has no linear layers")
    return {f"{name}.weight": module.weight for name, module in linear.items()}
