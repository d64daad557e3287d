"""What a model says of the rows of a data set."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from kdrun.data.dataset import Dataset
from kdrun.models.taps import WatchedSlot, tap
from kdrun.runtime.context import Context

__all__ = ["outputs_over"]


@torch.no_grad()
def outputs_over(
    module: nn.Module, data: Dataset, taps: Mapping[str, str], *, input: str, batch_size: int, context: Context
) -> dict[str, Tensor]:
    """Run ``module`` over ``data`` in order; return outputs, taps and the batch columns other than the input, on the CPU."""
    column = input if input in data.info.columns else next(iter(data.info.columns))
    key = f"{context.config_key}.taps"
    slots = {name: WatchedSlot() for name in taps}
    for name, path in taps.items():
        tap(module, path, slots[name], key=f"{key}.{name}")
    collected: dict[str, list[Tensor]] = {}
    with context.hardware.evaluation():
        for batch in data.batches(batch_size, device=context.device, workers=context.hardware.workers):
            output = module(batch[column])
            spoilt = [slot for slot in slots.values() if slot.spoilt()]
            for name, slot in slots.items():
                slot.check(taps[name], key=f"{key}.{name}")
                slot.copies = slot.copies or slot in spoilt
            if spoilt:
                output = module(batch[column])
            found = {"logits": output} if isinstance(output, Tensor) else _tensors(output)
            found.update({name: slot.take() for name, slot in slots.items()})
            found.update({k: v for k, v in batch.items() if k != column})
            for name, value in found.items():
                collected.setdefault(name, []).append(
                    value.detach().float().cpu() if value.is_floating_point() else value.cpu()
                )
    return {name: torch.cat(parts) for name, parts in collected.items()}


def _tensors(output: Any) -> dict[str, Tensor]:
    items = output.items() if hasattr(output, "items") else inspect.getmembers(output, lambda v: isinstance(v, Tensor))
    return {name: value for name, value in items if isinstance(value, Tensor)}
