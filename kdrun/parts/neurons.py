"""Neurons of feed-forward layers: which of them an answer rests on, and models without them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import Module

from kdrun.data.dataset import Dataset
from kdrun.errors import InputError, nearest
from kdrun.models.masks import masks_of
from kdrun.models.ties import is_linear, is_transposed_linear
from kdrun.ops.language import sequence_log_likelihood
from kdrun.registry import initialize, reduce, shape_of
from kdrun.runtime.context import Context
from kdrun.types import Count, Fraction

__all__ = ["integrated_gradient_neurons", "without_neurons"]

IGNORED = -100


class _Scaled:
    """Multiplies what a layer reads, where a mask says so, by a factor, and keeps the result to take gradients by."""

    def __init__(self) -> None:
        self.factor, self.where, self.seen = 1.0, torch.empty(0), torch.empty(0)

    def __call__(self, _: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        value = inputs[0].detach()
        scaled = value.where(~self.where[:, :, None], self.factor * value).requires_grad_()
        self.seen = scaled
        return (scaled, *inputs[1:])


@reduce(random=False)
def integrated_gradient_neurons(
    model: Module,
    data: Dataset,
    *,
    modules: list[str],
    intervals: Count = 20,
    input: str = "tokens",
    answer: str = "answer",
    batch_size: Count = 16,
    context: Context,
) -> dict[str, Tensor]:
    """How much of each row's answer rests on each neuron, by integrated gradients (Dai et al., 2022): layer to [rows, neurons] (float32).

    Neurons are what the linear layers read whose paths are or end in ``modules``: the last of each feed-forward part. ``Σ_k w_n / m ·
    ∂p/∂w_n`` at ``k / m`` of the layer's activations, for k from 1 to m = ``intervals``, one layer at a time, summed over the places of the
    answer; p is the probability of the answer, for several tokens the geometric mean of theirs. Over a layer's neurons it sums, with many steps, to
    what p loses where they are 0. The columns ``input`` and ``answer`` [rows, length] (int64; -100 where no answer is expected) are read.
    Raises ``InputError`` if a name fits no linear layer.
    """
    found: dict[str, list[Tensor]] = {path: [] for path in _layers(model, modules)}
    masks = masks_of(model, data.info.columns, input)
    model.requires_grad_(False)
    for path, layer in _layers(model, modules).items():
        scaled = _Scaled()
        handle = layer.register_forward_pre_hook(scaled)
        for batch in data.batches(batch_size, device=context.device, workers=context.hardware.workers):
            named = {word: batch[mask] for word, mask in masks.items()}
            scaled.where = batch[answer] != IGNORED
            total = torch.zeros((), device=context.device)
            for k in range(1, intervals + 1):
                scaled.factor = k / intervals
                total = total + _gradient(model, batch[input], batch[answer], named, scaled)
            scores = (scaled.seen.detach() * total * scaled.where[:, :, None]).sum(
                1
            ) / intervals  # seen last at k = m: as it is
            found[path].append(scores.float().cpu())
        handle.remove()
    return {path: torch.cat(parts) for path, parts in found.items()}


@shape_of("reduce", "integrated_gradient_neurons")
def neurons_shape(model: Module, data: Dataset, *, modules: list[str], **options: Any) -> dict[str, Tensor]:
    """A number for each row and neuron."""
    layers = _layers(model, modules)
    return {path: torch.zeros(len(data), _inputs(layer).shape[0]) for path, layer in layers.items()}


@initialize
def without_neurons(
    model: Module, scores: dict[str, Tensor], *, count: Count = 20, threshold: Fraction = 0.1, share: Fraction = 0.5
) -> Module:
    """The model without the ``count`` neurons on which most answers rest: what they give is multiplied by 0 (Dai et al., 2022).

    ``scores`` [rows, neurons] by layer are as of ``integrated_gradient_neurons``. A neuron counts for a row if it has more than
    ``threshold`` of the row's largest score in any layer. Those that count for at least this ``share`` of rows are kept in mind,
    and of them the ``count`` with the largest mean score switched off, or as many as there are. Raises ``InputError`` for scores of
    another model.
    """
    layers = {path: _layer(model, path, score) for path, score in scores.items()}
    every = torch.cat([*scores.values()], dim=1)
    often = (every > threshold * every.amax(1, keepdim=True)).double().mean(0) >= share
    ranked = every.mean(0).where(often, -torch.inf).argsort(descending=True)[: min(count, int(often.sum()))]
    off = torch.zeros(every.shape[1], dtype=torch.bool)
    off[ranked] = True
    parts = off.split([score.shape[1] for score in scores.values()])
    with torch.no_grad():
        for layer, chosen in zip(layers.values(), parts, strict=True):
            _inputs(layer)[chosen.to(_inputs(layer).device)] = 0.0
    return model


@shape_of("initialize", "without_neurons")
def without_neurons_shape(model: Module, scores: dict[str, Tensor], **options: Any) -> Module:
    """The model as it is: which neurons go is known when it has run."""
    return model


def _gradient(model: Module, tokens: Tensor, answer: Tensor, named: dict[str, Tensor], scaled: _Scaled) -> Tensor:
    """The gradient of each row's probability of its answer, with respect to what the layer reads."""
    with torch.enable_grad():
        output = model(tokens, **named)
        logits = output if isinstance(output, Tensor) else output.logits
        likely = sequence_log_likelihood(logits, answer).exp().sum()
    return torch.autograd.grad(likely, scaled.seen)[0]


def _layers(model: Module, modules: list[str]) -> dict[str, nn.Module]:
    layers = {n: m for n, m in model.named_modules() if is_linear(m)}
    for wanted in modules:
        if not any(f".{name}".endswith(f".{wanted}") for name in layers):
            raise InputError(f"no linear layer is called '{wanted}'{nearest(wanted, layers)}")
    return {n: m for n, m in layers.items() if any(f".{n}".endswith(f".{wanted}") for wanted in modules)}


def _layer(model: Module, path: str, score: Tensor) -> nn.Module:
    layer = dict(model.named_modules()).get(path)
    if layer is None or not is_linear(layer) or len(_inputs(layer)) != score.shape[1]:
        raise InputError(f"the model has no linear layer '{path}' of {score.shape[1]} inputs")
    return layer


def _inputs(layer: Any) -> Tensor:
    """A layer's weight as a view [inputs, outputs]."""
    weight: Tensor = layer.weight
    return weight if is_transposed_linear(layer) else weight.T
