"""Causal language models that read text piece by piece, with the memory of what they have read."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from torch.utils._pytree import tree_map_only

from kdrun.errors import InputError
from kdrun.models.masks import tells_places
from kdrun.models.small_transformers import CausalTransformer, KeyValueCache

__all__ = ["CachedModel"]

MEMORIES = ("cache", "past_key_values", "cache_params", "state")
"""What the models of transformers call their memory, the newest word first."""

ONE_ROW = ("rwkv",)
"""Models of transformers whose steps with a memory are right for a single row (5.24: what shifts in time is spread over all rows)."""


class CachedModel:
    """A causal language model with the keys, values and states of what it has read; prompts are padded on the left.

    Takes ``causal_transformer`` and causal models of transformers; raises ``InputError`` for others.
    """

    def __init__(self, model: Module) -> None:
        if not (isinstance(model, CausalTransformer) or hasattr(model, "prepare_inputs_for_generation")):
            raise InputError(
                f"{type(model).__name__} does not write: expected a causal_transformer or a causal_lm of transformers"
            )
        self.model = model
        self.cache: Any = None
        self.takes = frozenset(inspect.signature(model.forward).parameters)
        self.placed = not isinstance(model, CausalTransformer) and tells_places(model)

    def next_logits(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Read new ``tokens`` [rows, new]; ``mask`` (bool) [rows, all so far] is false at padding. [rows, vocabulary]."""
        if isinstance(self.model, CausalTransformer):
            if mask.shape[1] > self.model.max_length:
                raise InputError(
                    f"prompt and answer are longer than the model's max_length of {self.model.max_length} tokens"
                )
            self.cache = self.cache or KeyValueCache()
            return self.model(tokens, mask=mask, cache=self.cache)[:, -1]
        memory = next((word for word in MEMORIES if word in self.takes), None)
        first = mask.shape[1] == tokens.shape[1]
        if first:
            self._check_rows(tokens)
        kept = {memory: self.cache, "use_cache": True} if memory else {}
        output = self.model(input_ids=tokens, **self._placed(tokens, mask), **kept)
        self.cache = output[memory] if memory else None
        if first and not self.placed:
            self._check_padding(tokens, mask, output.logits[:, -1])
        return output.logits[:, -1]

    def _placed(self, tokens: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Where tokens stand and which are padding, as far as the model asks."""
        new = tokens.shape[1]
        given: dict[str, Tensor] = {}
        if "attention_mask" in self.takes and (new == mask.shape[1] or not _is_state(self.cache)):
            given["attention_mask"] = mask.long()
        if self.placed:
            given["position_ids"] = (mask.long().cumsum(1) - 1).clamp_min(0)[:, -new:]
        if "cache_position" in self.takes:
            given["cache_position"] = torch.arange(mask.shape[1] - new, mask.shape[1], device=tokens.device)
        return given

    def _check_rows(self, tokens: Tensor) -> None:
        settings: Any = self.model.config
        if len(tokens) > 1 and settings.model_type in ONE_ROW:
            raise InputError(f"{type(self.model).__name__} writes one row at a time: use batch_size: 1")

    def _check_padding(self, tokens: Tensor, mask: Tensor, said: Tensor) -> None:
        """Ask about the shortest prompt by itself, where the model cannot be told the places of its tokens."""
        row = int(mask.sum(1).argmin())
        real = mask[row]
        if bool(real.all()):
            return
        alone = self.model(input_ids=tokens[row : row + 1, real]).logits[0, -1]
        allowed = 0.01 if alone.dtype == torch.float32 else 0.1
        if bool((said[row] - alone).abs().max() > allowed * alone.abs().max()):
            raise InputError(
                f"{type(self.model).__name__} reads a padded prompt otherwise than that prompt alone: give it prompts of one length"
            )

    def first_logits(self, tokens: Tensor) -> Tensor:
        """The next token's logits without mask and cache: all that planning needs."""
        output = self.model(tokens)
        return (output if isinstance(output, Tensor) else output.logits)[:, -1]

    def select(self, rows: Tensor) -> None:
        """Go on with these rows (int64) alone. Raises ``InputError`` for a memory from which none can be taken."""
        if isinstance(self.cache, KeyValueCache):
            self.cache.select(rows)
        elif hasattr(self.cache, "reorder_cache"):  # of attention and of states alike
            self.cache.reorder_cache(rows)
        elif isinstance(self.cache, list | tuple | dict):
            self.cache = tree_map_only(Tensor, lambda value: value[rows], self.cache)
        else:
            raise InputError(
                f"the memory of {type(self.model).__name__} is one of all rows, which cannot end apart: use batch_size: 1"
            )


def _is_state(memory: Any) -> bool:
    """Whether a memory is a state that is past all padding, and holds no token's keys: masks are then of what is read now."""
    linear = getattr(memory, "is_linear", None)
    return bool(all(linear)) if isinstance(linear, list) else hasattr(memory, "ssm_states")
