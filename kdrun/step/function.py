"""A step used as a function: values of its nodes over whole data sets."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from kdrun.data.dataset import Dataset
from kdrun.grammar.nodes import Ref
from kdrun.models.modes import in_mode
from kdrun.runtime.context import Context
from kdrun.step.compiler import Compiler

__all__ = ["StepFunction"]


class StepFunction:
    """Values of step nodes over whole data sets; compiled before the step's program. ``batch`` in the step means ``loader``."""

    def __init__(self, compiler: Compiler, refs: Iterable[Ref], loader: str = "data") -> None:
        self.compiler = compiler
        self.refs = list(refs)
        self.instructions, self.registers = compiler.function(self.refs, loader)

    @torch.no_grad()
    def over(
        self,
        data: Dataset,
        *,
        batch_size: int,
        context: Context,
        augment: Callable[[int, dict[str, Tensor]], dict[str, Tensor]] | None = None,
    ) -> list[Any]:
        """One value a reference, on the CPU: rows joined in the data's order; scalars as means over rows.

        What was handed in as a tensor is given as it is. All models are in eval mode meanwhile; ``augment`` changes
        each batch by its number.
        """
        layout = self.compiler.layout
        collected: list[list[Tensor]] = [[] for _ in self.refs]
        sizes: list[int] = []
        with in_mode(self.compiler.bound.modules.values(), False), context.hardware.evaluation():
            batches = data.batches(batch_size, device=context.device, workers=context.hardware.workers)
            for number, batch in enumerate(batches):
                given = augment(number, batch) if augment is not None else batch
                r = layout.filled(given)
                for function, inputs, out in self.instructions:
                    r[out] = function(*[r[i] for i in inputs])
                sizes.append(len(batch["index"]))
                for values, register in zip(collected, self.registers, strict=True):
                    values.append(_on_cpu(r[register]))
        return [self._joined(ref, values, sizes) for ref, values in zip(self.refs, collected, strict=True)]

    def _joined(self, ref: Ref, values: list[Tensor], sizes: list[int]) -> Any:
        if ref.name in self.compiler.bound.tensors:
            return values[0]
        if values[0].dim() == 0:
            return (torch.stack(values).double() * torch.tensor(sizes)).sum() / sum(sizes)
        return torch.cat(values)


def _on_cpu(value: Tensor) -> Tensor:
    value = value.detach()
    return value.float().cpu() if value.is_floating_point() else value.cpu()
