"""What a model says of the rows of a data set."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from kdrun.data.dataset import Dataset
from kdrun.errors import InputError, nearest
from kdrun.models.masks import masks_of
from kdrun.models.taps import WatchedSlot, tap
from kdrun.runtime.context import Context
from kdrun.runtime.soundness import refuse_nan

__all__ = ["outputs_over"]


@torch.no_grad()
def outputs_over(
    module: nn.Module, data: Dataset, taps: Mapping[str, str], *, input: str, batch_size: int, context: Context
) -> dict[str, Tensor]:
    """Run ``module`` over ``data`` in order; return outputs, taps and the batch columns other than the input, on the CPU.

    A model of tokens that takes a mask is handed the one that stands beside them; one that needs more than its first input, as the
    number of a task, the columns of those names. Raises ``InputError`` if the data has no such column,
    ``Diverged`` where what the model says is NaN.
    """
    column = input if input in data.info.columns else next(iter(data.info.columns))
    beside = masks_of(module, data.info.columns, column)
    beside.update({word: word for word in _needed(module) if word not in beside})
    for word, other in beside.items():
        if other not in data.info.columns:
            told = f"the model reads '{word}' beside '{column}', and the data has no column of that name"
            raise InputError(f"{told}{nearest(word, data.info.columns)}", key=context.config_key)

    def asked(batch: Mapping[str, Tensor]) -> Any:
        return module(batch[column], **{word: batch[other] for word, other in beside.items()})

    key = f"{context.config_key}.taps"
    slots = {name: WatchedSlot() for name in taps}
    for name, path in taps.items():
        tap(module, path, slots[name], key=f"{key}.{name}")
    collected: dict[str, list[Tensor]] = {}
    said: set[str] = set()
    with context.hardware.evaluation():
        for batch in data.batches(batch_size, device=context.device, workers=context.hardware.workers):
            output = asked(batch)
            spoilt = [slot for slot in slots.values() if slot.spoilt()]
            for name, slot in slots.items():
                slot.check(taps[name], key=f"{key}.{name}")
                slot.copies = slot.copies or slot in spoilt
            if spoilt:
                output = asked(batch)
            found = {"logits": output} if isinstance(output, Tensor) else _tensors(output)
            found.update({name: slot.take() for name, slot in slots.items()})
            said |= found.keys()
            found.update({k: v for k, v in batch.items() if k != column})
            for name, value in found.items():
                collected.setdefault(name, []).append(
                    value.detach().float().cpu() if value.is_floating_point() else value.cpu()
                )
    joined = {name: torch.cat(parts) for name, parts in collected.items()}
    refuse_nan({f"what the model says ('{name}')": joined[name] for name in sorted(said)}, key=context.config_key)
    return joined


def _needed(module: nn.Module) -> list[str]:
    """What a model cannot be called without, beside its first input."""
    others = list(inspect.signature(module.forward).parameters.values())[1:]
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [p.name for p in others if p.kind in named and p.default is inspect.Parameter.empty]


def _tensors(output: Any) -> dict[str, Tensor]:
    items = output.items() if hasattr(output, "items") else inspect.getmembers(output, lambda v: isinstance(v, Tensor))
    return {name: value for name, value in items if isinstance(value, Tensor)}
