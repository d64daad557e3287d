"""Low-rank adapters put into trained models (``initialize``) and merged into their weights (``merge``)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import Module, init

from kdrun.errors import InputError
from kdrun.models.low_rank import adapted_layers, insert_adapters, merge_adapters
from kdrun.models.ties import tied_in
from kdrun.ops.low_rank import weighted_low_rank_init
from kdrun.registry import initialize, merge
from kdrun.types import Count, Positive

__all__ = ["low_rank_adapter", "merged_adapter"]


@initialize
def low_rank_adapter(
    model: Module,
    importance: dict[str, Tensor] | None = None,
    reference: dict[str, Tensor] | None = None,
    *,
    modules: list[str] | None = None,
    rank: Count = 8,
    alpha: Positive = 16.0,
    eps: Positive = 1e-5,
    generator: torch.Generator,
) -> Module:
    """The model with low-rank adapters that change nothing yet: ``W + (alpha / rank) · B A`` in place of each ``W``.

    They sit in all linear layers but the head, or in those named in ``modules``: ``A`` [rank, inputs], ``B`` [outputs, rank].
    Without ``importance``, ``A`` is Kaiming-uniform and ``B`` zero (Hu et al., 2022). With it, a tensor of a weight's shape
    by the weight's name, divided elementwise by ``reference + eps`` where that is given, the factors are
    ``weighted_low_rank_init`` of the weight and the frozen weight becomes the residual (Cha et al., 2025). Gives the model
    itself, changed, its own weights frozen. Raises ``InputError`` if a weight has no importance of its shape.
    """
    spec = dict(getattr(model, "kdrun_spec", {}))
    base = {k: False if k == "pretrained" else v for k, v in spec.items() if k != "weights"}
    adapted = insert_adapters(model, modules, rank=rank, alpha=alpha)
    for path, layer in adapted_layers(adapted).items():
        if importance is None:
            init.kaiming_uniform_(layer.lora_A, a=5**0.5, generator=_on(generator, layer.lora_A))
            continue
        weights = [_of(table, f"{path}.weight", layer.weight) for table in (importance, reference) if table is not None]
        ratio = weights[0] / (weights[1] + eps) if reference is not None else weights[0]
        found = weighted_low_rank_init(layer.matrix().detach(), layer.matrix(ratio), rank=rank, scaling=layer.scaling)
        with torch.no_grad():
            layer.lora_A.copy_(found["down"])
            layer.lora_B.copy_(found["up"])
            layer.weight.copy_(layer.shaped(found["residual"]))
    own: Any = {"model": "low_rank_adapter", "base": base, "modules": modules, "rank": rank, "alpha": alpha}
    adapted.kdrun_spec = own
    return adapted


def _of(table: dict[str, Tensor], name: str, weight: Tensor) -> Tensor:
    if name not in table or table[name].shape != weight.shape:
        raise InputError(f"there is no importance of the shape {list(weight.shape)} for the weight {name}")
    return table[name].to(device=weight.device, dtype=torch.float32)


def _on(generator: torch.Generator, value: Tensor) -> torch.Generator:
    """The generator itself, or one of its numbers' on the tensor's device."""
    if generator.device.type == value.device.type:
        return generator
    return torch.Generator(value.device).manual_seed(int(torch.randint(1 << 62, (), generator=generator)))


@merge
def merged_adapter(model: Module) -> Module:
    """A model with low-rank adapters as a plain one of its base's architecture: each weight is ``W + (alpha / rank) · B A``.

    Its outputs are those of the adapted model up to rounding (Hu et al., 2022). A head that shared the embedding's weight has its own
    afterwards (``untied``). Raises ``InputError`` for a model without adapters.
    """
    spec = dict(getattr(model, "kdrun_spec", {}))
    if spec.get("model") != "low_rank_adapter":
        raise InputError(f"a model '{spec.get('model')}' has no adapters to merge")
    apart = tied_in(spec["base"], adapted_layers(model))
    merged = merge_adapters(model)
    plain: Any = {"model": "untied", "base": spec["base"], "modules": apart} if apart else spec["base"]
    merged.kdrun_spec = plain
    return merged
