"""Soft prompts: trained keys and values that every layer of a frozen encoder attends to before the words (Li & Liang, 2021).

They are beside the model, not inside its layers: paths, taps and weights of the model stay what they were, words keep their places, and
the prompt is the module ``prompt``.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdrun.errors import InputError
from kdrun.models.bottlenecks import frozen_base
from kdrun.models.small_transformers import Attention
from kdrun.registry import model
from kdrun.types import Count, Fraction

__all__ = ["SoftPrompt", "prefix_prompt"]

CACHES = ("cache", "past_key_values")
"""What layers of transformers call the keys and values that come before theirs; it was renamed in its fifth edition."""


class SoftPrompt(nn.Module):
    """One ``table`` [length, layers · 2 · width]: for each layer keys, then values, standard normal at first."""

    def __init__(self, length: int, layers: int, width: int, dropout: float) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(length, layers * 2 * width))
        self.layers, self.dropout = layers, dropout
        self.draw(1.0)

    def draw(self, spread: float, generator: torch.Generator | None = None) -> None:
        """First values: normal with this deviation."""
        nn.init.normal_(self.table, 0.0, spread, generator=generator)

    def of_layer(self, layer: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values [rows, heads, length, dim] before those of a layer, of which ``like`` [rows, heads, ..., dim] are some."""
        rows, heads, _, dim = like.shape
        own = F.dropout(self.table, self.dropout, self.training).view(-1, self.layers, 2, heads, dim)[:, layer]
        key, value = (part.transpose(0, 1)[None].expand(rows, -1, -1, -1).to(like.dtype) for part in own.unbind(1))
        return key, value


class _Before:
    """Stands where a layer keeps the keys and values of tokens that came before: here it is the prompt alone."""

    def __init__(self, prompt: SoftPrompt, layer: int) -> None:
        self.prompt, self.layer = prompt, layer

    def extend(self, _: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """The prompt's keys and values, then these."""
        first = self.prompt.of_layer(self.layer, key)
        return torch.cat([first[0], key], 2), torch.cat([first[1], value], 2)

    def update(self, key: Tensor, value: Tensor, layer: int, **_: Any) -> tuple[Tensor, Tensor]:
        """As transformers asks for it."""
        return self.extend(layer, key, value)


def _seen(mask: Tensor | None, length: int) -> Tensor | None:
    """A mask of words [..., words] with the prompt before them, which all may attend to."""
    if mask is None:
        return None
    free = torch.ones if mask.dtype == torch.bool else torch.zeros
    return torch.cat([free(*mask.shape[:-1], length, dtype=mask.dtype, device=mask.device), mask], -1)


def _attend(module: nn.Module, prompt: SoftPrompt, layer: int) -> None:
    """Let an attention module see the prompt's keys and values of this layer first."""
    own = isinstance(module, Attention)
    names = list(inspect.signature(module.forward).parameters)
    held, masked = next(n for n in CACHES if n in names), "mask" if own else "attention_mask"

    def before(_: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        given = {**dict(zip(names, inputs, strict=False)), **named}
        given[held] = _Before(prompt, layer)
        given[masked] = _seen(given.get(masked), len(prompt.table))
        return (given.pop(names[0]),), given

    module.register_forward_pre_hook(before, with_kwargs=True)


def _is_attention(module: nn.Module) -> bool:
    """Whether it is self-attention of small transformers here, or of BERT and its like in transformers."""
    if isinstance(module, Attention):
        return not module.causal
    parts = all(isinstance(getattr(module, name, None), nn.Linear) for name in ("query", "key", "value"))
    return parts and any(name in inspect.signature(module.forward).parameters for name in CACHES)


@model
def prefix_prompt(
    *, base: dict[str, Any], length: Count = 20, dropout: Fraction = 0.0, trainable: list[str] | None = None
) -> nn.Module:
    """A frozen encoder whose every layer attends to ``length`` trained keys and values before the words (Li & Liang, 2021; Liu et al., 2022).

    They are one table [length, layers · 2 · width], the module ``prompt``, without a network that makes it; each number is 0 with the
    probability ``dropout`` while training. ``trainable`` are modules of the base that train, too, such as its ``head``. Paths, taps, inputs
    and outputs are those of ``base``, whose specification is complete. Raises ``InputError`` if no layer of it attends in both directions
    in a way that is known: that of ``encoder_transformer``, or of BERT and its like in transformers.

    >>> inside = {"model": "encoder_transformer", "vocabulary": 20, "num_classes": 3}
    >>> network = models.prefix_prompt(base=inside, length=5, trainable=["head"])
    >>> [(name, tuple(p.shape)) for name, p in network.named_parameters() if p.requires_grad]
    [('head.weight', (3, 48)), ('head.bias', (3,)), ('prompt.table', (5, 192))]
    """
    module = frozen_base(base, trainable)
    layers = [inner for inner in module.modules() if _is_attention(inner)]
    if not layers:
        raise InputError("the model has no layer of an encoder that could attend to a prompt")
    width = (layers[0].project_in if isinstance(layers[0], Attention) else layers[0].query).in_features  # type: ignore[union-attr]
    prompt = SoftPrompt(length, len(layers), int(width), dropout)  # type: ignore[arg-type]
    for number, layer in enumerate(layers):
        _attend(layer, prompt, number)
    module.prompt = prompt
    return module
