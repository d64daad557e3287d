"""Frozen models made cheaper to ask: batch norms folded into the convolutions before them, weights in bfloat16.

Answers change within rounding: by about 1e-6 of their size where batch norms are folded, 1e-2 in bfloat16.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.utils._pytree import tree_map

__all__ = ["fold_batch_norms", "full_precision", "reduce_weights", "reduced_in"]

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
REDUCED = (*CONVOLUTIONS, nn.Linear)
MARK = "kdrun_reduced"


def fold_batch_norms(module: nn.Module, kept: Collection[nn.Module] = ()) -> int:
    """Fold, in place, every batch norm that alone reads a convolution into it, and return how many there were.

    The norm becomes an identity, so that every path stays a module and a norm's output what it was. Pairs of which a module is among
    ``kept`` stay, as do those that run more than once or in training mode. Raises ``ValueError`` for a forward that torch.fx cannot trace.
    """
    modules = dict(module.named_modules())
    count = 0
    for convolution, path in list(_pairs(module)):
        norm = modules[path]
        if norm.training or any(one is other for one in (convolution, norm) for other in kept):
            continue
        _fold(convolution, norm)
        parent, _, name = path.rpartition(".")
        setattr(modules[parent], name, nn.Identity())
        count += 1
    return count


def _pairs(module: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    """Convolutions, each with the path of the batch norm that alone reads it."""
    try:
        graph = fx.Tracer().trace(module)
    except Exception as error:  # whatever a forward does with a proxy that a proxy cannot do
        raise ValueError(f"its forward cannot be traced ({type(error).__name__})") from None
    modules = dict(module.named_modules())
    calls = [node for node in graph.nodes if node.op == "call_module"]
    often = Counter(id(modules[str(node.target)]) for node in calls)
    for node in calls:
        norm = modules[str(node.target)]
        read = node.args[0] if isinstance(norm, NORMS) and node.args else None
        if not isinstance(read, fx.Node) or read.op != "call_module" or len(read.users) != 1:
            continue
        convolution = modules[str(read.target)]
        once = often[id(norm)] == often[id(convolution)] == 1
        if once and type(convolution) in CONVOLUTIONS and norm.running_mean is not None:
            yield convolution, str(node.target)


def _fold(convolution: Any, norm: Any) -> None:
    layout = torch.channels_last if _is_channels_last(convolution.weight) else torch.preserve_format
    weight, bias = fuse_conv_bn_weights(
        convolution.weight, convolution.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    convolution.weight = nn.Parameter(weight.detach().contiguous(memory_format=layout), requires_grad=False)
    convolution.bias = nn.Parameter(bias.detach(), requires_grad=False)


def _is_channels_last(weight: Tensor) -> bool:
    return weight.dim() == 4 and weight.is_contiguous(memory_format=torch.channels_last)


def reduce_weights(module: nn.Module, dtype: torch.dtype = torch.bfloat16) -> None:
    """Cast the weights of convolutions and linear layers, in place, and mark the module: it is to be asked under autocast of this type."""
    for inner in module.modules():
        if type(inner) in REDUCED:
            inner.to(dtype)
    setattr(module, MARK, dtype)


def reduced_in(module: nn.Module) -> torch.dtype | None:
    """The type that ``reduce_weights`` left the weights in; None for a module that it did not change."""
    found = getattr(module, MARK, None)
    return found if isinstance(found, torch.dtype) else None


def full_precision(value: Any) -> Any:
    """The value with tensors of half precision, in mappings and sequences too, as float32."""
    half = (torch.bfloat16, torch.float16)
    return tree_map(lambda one: one.float() if isinstance(one, Tensor) and one.dtype in half else one, value)
