"""Masks of padded text: which column is one, which models heed it, and models of transformers made to heed it whole.

A column of tokens (``tokens``, ``teacher_tokens``, …) may have a mask beside it (``mask``, ``teacher_mask``, …): true or 1 where a token is
real. Whoever asks a model about the tokens hands it the mask, if it takes one.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, MutableMapping
from typing import Any

import torch
from torch import Tensor, nn

from kdrun.data.dataset import Column

__all__ = ["heed_padding", "mask_column", "mask_word", "masks_of", "tells_places"]

MASKS = ("attention_mask", "mask")
"""What models call the mask of their tokens."""

TOKENS = ("input_ids", "tokens")
"""What models call their tokens."""


def mask_column(columns: Mapping[str, Column], tokens: str) -> str | None:
    """The column that says which of a column's tokens are real, if there is one of a row's length."""
    found = columns.get(tokens)
    if found is None or found.dtype.is_floating_point or len(found.shape) != 1:
        return None
    before = next((tokens.removesuffix(word) for word in TOKENS if tokens.endswith(word)), None)
    if before is None:
        return None
    names = (f"{before}{word}" for word in MASKS)
    return next((name for name in names if name in columns and columns[name].shape == found.shape), None)


def mask_word(module: nn.Module) -> str | None:
    """What a model of tokens calls the mask that it takes beside them; None for one that takes none."""
    takes = inspect.signature(module.forward).parameters
    first = next(iter(takes), None)
    return next((word for word in MASKS if word in takes), None) if first in TOKENS else None


def masks_of(module: nn.Module, columns: Mapping[str, Column], tokens: str) -> dict[str, str]:
    """The column that a model is to be handed as a mask beside a column of tokens, by what the model calls it; empty if there is none."""
    word, column = mask_word(module), mask_column(columns, tokens)
    return {word: column} if word is not None and column is not None else {}


def tells_places(module: nn.Module) -> bool:
    """Whether a causal model of transformers is told the places of its tokens, counted from 0."""
    takes = inspect.signature(module.forward).parameters
    own = any(
        hasattr(inner, "create_position_ids_from_input_ids") for inner in module.modules()
    )  # counted from elsewhere
    return "position_ids" in takes and not own


def heed_padding(module: Any, *, causal: bool, by_last: bool) -> None:
    """Make a model of transformers say of padded text, with a mask, what it says of that text alone; in place.

    A ``causal`` one counts places over real tokens. One that classifies a text ``by_last`` token takes the last real one, whatever
    the padding is.
    """
    placed = causal and tells_places(module)

    def before(
        _: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        mask = named.get("attention_mask")
        if mask is None or mask.dim() != 2:
            return None
        told = {**named, "attention_mask": mask.long()}
        if placed and "position_ids" not in named:
            told["position_ids"] = (mask.long().cumsum(1) - 1).clamp_min(0)
        return inputs, told

    module.register_forward_pre_hook(before, with_kwargs=True)
    if by_last:
        _classify_last(module)


def _classify_last(module: Any) -> None:
    """Let the logits of a text be those of its last real token."""
    scores: list[Tensor] = []

    def keep(_: nn.Module, __: Any, output: Tensor) -> None:
        scores[:] = [output]

    def after(_: nn.Module, __: tuple[Any, ...], named: dict[str, Any], output: Any) -> Any:
        mask, each = named.get("attention_mask"), scores.pop() if scores else None
        if mask is not None and each is not None and mask.dim() == 2 and isinstance(output, MutableMapping):
            places = torch.arange(mask.shape[1], device=mask.device)
            last = (places * mask.long()).argmax(1)
            output["logits"] = each[torch.arange(each.shape[0], device=each.device), last]
        return output

    module.score.register_forward_hook(keep)
    module.register_forward_hook(after, with_kwargs=True)
