"""Moving averages of weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Average"]


class Average:
    """An exponential moving average of a module's parameters; buffers are copied."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.source = module
        self.parameters = [p.detach().clone() for p in module.parameters()]

    @torch.no_grad()
    def step(self) -> None:
        torch._foreach_lerp_(self.parameters, [p.detach() for p in self.source.parameters()], 1.0 - self.decay)

    def state(self) -> dict[str, Tensor]:
        """The state dictionary of the averaged module; a tied weight is averaged under each of its names."""
        averaged = dict(zip(map(id, self.source.parameters()), self.parameters, strict=True))
        named = {n: averaged[id(p)] for n, p in self.source.named_parameters(remove_duplicate=False)}
        return {n: named.get(n, v) for n, v in self.source.state_dict().items()}
