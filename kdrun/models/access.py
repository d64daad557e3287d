"""Models of which only some answers may be seen."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from kdrun.registry import catalog, model

__all__ = ["Opaque"]


@model(name="opaque", outputs=("label",))
class Opaque(nn.Module):
    """A model behind a counter: it gives the most likely class of each row, without gradient, and nothing else.

    ``base`` is the complete specification of the model inside, with all sizes; it stays in eval mode. Inputs are those
    of ``base``; the output ``label`` [batch] is int64. The buffer ``queries`` (int64) counts the rows asked for so far.
    Raises ``InputError`` for a model that is not registered.

    >>> inside = {"model": "linear_classifier", "in_features": 4, "num_classes": 3}
    >>> target = models.opaque(base=inside)
    >>> target(torch.zeros(5, 4))["label"].shape, int(target.queries)
    (torch.Size([5]), 5)
    """

    queries: Tensor

    def __init__(self, *, base: dict[str, Any]) -> None:
        super().__init__()
        factory = catalog().get("model", base["model"]).load()
        self.base = factory(**{k: v for k, v in base.items() if k not in ("model", "weights")})
        self.register_buffer("queries", torch.zeros((), dtype=torch.int64))

    def train(self, mode: bool = True) -> Opaque:
        """Set the mode of the wrapper alone."""
        super().train(mode)
        self.base.eval()
        return self

    def forward(self, *inputs: Any) -> dict[str, Tensor]:
        """``label`` [batch] (int64) of the inputs of the model inside."""
        with torch.no_grad():
            self.queries += len(inputs[0])
            return {"label": self.base(*inputs).argmax(-1)}
