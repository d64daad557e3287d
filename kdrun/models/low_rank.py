"""Low-rank adapters (Hu et al., 2022) in the linear and convolutional layers of any model.

A layer that shares its weight with another one, as a head with the embedding, gets a copy before it is adapted: what is merged into
it would otherwise change the other, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdrun.errors import InputError, nearest
from kdrun.models.ties import is_linear, own_weights
from kdrun.registry import catalog, model
from kdrun.types import Count, Positive

__all__ = [
    "LowRankConv2d",
    "LowRankLinear",
    "LowRankTransposed",
    "adapted_layers",
    "insert_adapters",
    "low_rank_adapter",
    "merge_adapters",
]


class _LowRank:
    """Two factors ``lora_A`` [rank, in] and ``lora_B`` [out, rank] beside a frozen weight, seen as a matrix."""

    weight: Any
    bias: Any
    lora_A: Tensor
    lora_B: Tensor
    scaling: float
    training: bool

    def _adapt(self, layer: Any, rank: int, alpha: float) -> None:
        self.weight, self.bias, self.scaling = layer.weight, layer.bias, alpha / rank
        self.weight.requires_grad_(False)
        self.training = layer.training
        rows, columns = self.matrix().shape
        if rank > min(rows, columns):
            raise InputError(f"a weight of {rows} × {columns} takes no adapter of rank {rank}")
        like: dict[str, Any] = {"device": self.weight.device, "dtype": self.weight.dtype}
        self.lora_A = nn.Parameter(torch.empty(rank, columns, **like))
        self.lora_B = nn.Parameter(torch.zeros(rows, rank, **like))
        nn.init.kaiming_uniform_(self.lora_A, a=5**0.5)

    def matrix(self, weight: Tensor | None = None) -> Tensor:
        """The frozen weight, or another tensor of its shape, as a matrix [out, in]."""
        return (self.weight if weight is None else weight).flatten(1)

    def shaped(self, matrix: Tensor) -> Tensor:
        """A matrix [out, in] in the shape of the weight."""
        return matrix.view_as(self.weight)

    def effective(self) -> Tensor:
        """The weight of the plain layer that computes the same."""
        return self.weight + self.scaling * self.shaped(self.lora_B @ self.lora_A)


class LowRankLinear(_LowRank, nn.Linear):
    """``W x + b + (alpha / rank) · B A x`` with ``W`` and ``b`` of a linear layer, of which ``A`` and ``B`` are to be trained."""

    def __init__(self, layer: nn.Linear, *, rank: int, alpha: float) -> None:
        nn.Linear.__init__(self, layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
        self._adapt(layer, rank, alpha)

    def forward(self, x: Tensor) -> Tensor:
        """[..., out] of [..., in]."""
        return F.linear(x, self.weight, self.bias) + self.scaling * F.linear(F.linear(x, self.lora_A), self.lora_B)


class LowRankTransposed(_LowRank, nn.Module):
    """``x W + b + (alpha / rank) · B A x`` with ``W`` [in, out]: a linear layer as GPT-2 has it in transformers (``Conv1D``)."""

    def __init__(self, layer: Any, *, rank: int, alpha: float) -> None:
        nn.Module.__init__(self)
        self._adapt(layer, rank, alpha)

    def matrix(self, weight: Tensor | None = None) -> Tensor:
        return (self.weight if weight is None else weight).T

    def shaped(self, matrix: Tensor) -> Tensor:
        return matrix.T

    def forward(self, x: Tensor) -> Tensor:
        """[..., out] of [..., in]."""
        plain = F.linear(x, self.weight.T, self.bias)
        return plain + self.scaling * F.linear(F.linear(x, self.lora_A), self.lora_B)


class LowRankConv2d(_LowRank, nn.Conv2d):
    """A convolution with a low-rank one beside it: ``A`` has the layer's window, stride and padding, ``B`` is 1×1.

    Raises ``InputError`` for a convolution with groups.
    """

    def __init__(self, layer: nn.Conv2d, *, rank: int, alpha: float) -> None:
        if layer.groups != 1:
            raise InputError("a low-rank adapter takes convolutions without groups")
        window: Any = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
        more: dict[str, Any] = {"bias": layer.bias is not None, "padding_mode": layer.padding_mode, "device": "meta"}
        nn.Conv2d.__init__(self, layer.in_channels, layer.out_channels, *window, **more)
        self._adapt(layer, rank, alpha)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, out, h', w'] of [batch, in, h, w]."""
        first = self.lora_A.view(-1, self.in_channels, *self.kernel_size)
        inner = self._conv_forward(x, first, None)
        return self._conv_forward(x, self.weight, self.bias) + self.scaling * F.conv2d(
            inner, self.lora_B[:, :, None, None]
        )


Adapted = LowRankLinear | LowRankTransposed | LowRankConv2d


def adapted_layers(module: nn.Module) -> dict[str, Adapted]:
    """The layers with adapters, by path."""
    return {n: m for n, m in module.named_modules() if isinstance(m, Adapted)}


def _chosen(module: nn.Module, modules: list[str] | None) -> Iterator[tuple[str, nn.Module]]:
    """Layers by path: those whose path is or ends in one of ``modules``; by default the linear ones but the head."""
    layers = {n: m for n, m in module.named_modules() if isinstance(m, nn.Conv2d) or is_linear(m)}
    if modules is None:
        head = str(getattr(module, "tap_points", {}).get("head", ""))
        yield from ((n, m) for n, m in layers.items() if is_linear(m) and n != head)
        return
    for wanted in modules:
        if not any(f".{name}".endswith(f".{wanted}") for name in layers):
            raise InputError(f"no linear layer or convolution is called '{wanted}'{nearest(wanted, layers)}")
    yield from ((n, m) for n, m in layers.items() if any(f".{n}".endswith(f".{wanted}") for wanted in modules))


def _replace(module: nn.Module, path: str, layer: nn.Module) -> None:
    parent, _, leaf = path.rpartition(".")
    setattr(module.get_submodule(parent) if parent else module, leaf, layer)


def insert_adapters(module: nn.Module, modules: list[str] | None, *, rank: int, alpha: float) -> nn.Module:
    """Freeze ``module`` and put adapters into its chosen layers, in place.

    Raises ``InputError`` if a name fits no layer or there is none to adapt.
    """
    layers = list(_chosen(module, modules))
    if not layers:
        raise InputError("the model has no linear layer to adapt")
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    own_weights(module, [path for path, _ in layers])
    for path, layer in layers:
        _replace(module, path, _adapted(layer)(layer, rank=rank, alpha=alpha))
    return module


def _adapted(layer: nn.Module) -> Any:
    """The class of what takes the place of a layer."""
    if isinstance(layer, nn.Linear):
        return LowRankLinear
    return LowRankConv2d if isinstance(layer, nn.Conv2d) else LowRankTransposed


def merge_adapters(module: nn.Module) -> nn.Module:
    """Put plain layers in the place of adapted ones, in place; the model computes what it did."""
    for path, layer in adapted_layers(module).items():
        plain = _plain(layer)
        plain.weight, plain.bias = nn.Parameter(layer.effective().detach().contiguous()), layer.bias
        _replace(module, path, plain.train(layer.training))
    return module


def _plain(layer: Adapted) -> Any:
    """A layer of the kind that was adapted, without weights."""
    more: dict[str, Any] = {"bias": layer.bias is not None, "device": "meta"}
    if isinstance(layer, LowRankLinear):
        return nn.Linear(layer.in_features, layer.out_features, **more)
    if isinstance(layer, LowRankConv2d):
        window: Any = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
        more["padding_mode"] = layer.padding_mode
        return nn.Conv2d(layer.in_channels, layer.out_channels, *window, **more)
    from transformers.pytorch_utils import Conv1D

    with torch.device("meta"):
        return Conv1D(layer.weight.shape[1], layer.weight.shape[0])


@model
def low_rank_adapter(
    *, base: dict[str, Any], modules: list[str] | None = None, rank: Count = 8, alpha: Positive = 16.0
) -> nn.Module:
    """A model, given by its specification, with low-rank adapters in its layers (Hu et al., 2022); only they are trained.

    ``modules`` are the paths of linear layers or convolutions, or their ends (``q_proj``); by default all linear layers
    but the head. The update of a weight is ``(alpha / rank) · B A``, 0 at first. Paths, taps, inputs and outputs are
    those of ``base``, whose specification is complete. Raises ``InputError`` if a name fits no layer, or ``rank`` is
    above a layer's size.

    >>> inside = {"model": "mlp", "hidden": [16], "in_features": 8, "num_classes": 3}
    >>> network = models.low_rank_adapter(base=inside, rank=2)
    >>> [name for name, p in network.named_parameters() if p.requires_grad]
    ['body.0.lora_A', 'body.0.lora_B']
    """
    part = catalog().get("model", base["model"])
    inner = part.load()(**{k: v for k, v in base.items() if k not in ("model", "weights")})
    return insert_adapters(inner, modules, rank=rank, alpha=alpha)
