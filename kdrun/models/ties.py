"""Weights that several layers share, and layers that get their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from kdrun.registry import catalog, model

__all__ = ["is_linear", "is_transposed_linear", "own_weights", "tied_in", "tied_layers", "untied"]


def is_transposed_linear(module: nn.Module) -> bool:
    """Whether a layer is transformers' ``Conv1D``, a linear layer whose weight is [in, out]."""
    kind = type(module)
    return (kind.__module__, kind.__name__) == ("transformers.pytorch_utils", "Conv1D")


def is_linear(module: nn.Module) -> bool:
    """Whether a layer is a linear one, whichever way its weight lies."""
    return isinstance(module, nn.Linear) or is_transposed_linear(module)


def tied_layers(module: nn.Module, paths: Iterable[str]) -> list[str]:
    """Those of the layers at ``paths`` whose ``weight`` is also that of another one."""
    uses = Counter(id(value) for _, value in module.named_parameters(remove_duplicate=False))
    return [path for path in paths if uses[id(module.get_submodule(path).weight)] > 1]


def own_weights(module: nn.Module, paths: Iterable[str]) -> None:
    """Give each of these layers that shares its weight a copy, in place."""
    for path in tied_layers(module, paths):
        layer: Any = module.get_submodule(path)
        layer.weight = nn.Parameter(layer.weight.detach().clone(), layer.weight.requires_grad)


def tied_in(spec: Mapping[str, Any], paths: Iterable[str]) -> list[str]:
    """Those of the layers at ``paths`` whose weight is also that of another one in the model of a specification."""
    with torch.device("meta"):
        return tied_layers(_made(spec), paths)


@model
def untied(*, base: dict[str, Any], modules: list[str]) -> nn.Module:
    """A model, given by its specification, some of whose layers have weights of their own, though ``base`` shares them with others.

    ``modules`` are the paths of these layers, as of a head that reads the embedding's weight; they begin with copies. Paths, taps,
    inputs and outputs are those of ``base``, whose specification is complete.

    >>> inside = {"model": "causal_transformer", "vocabulary": 20}
    >>> network = models.untied(base=inside, modules=["head"])
    >>> network.head.weight is network.embedding.weight
    False
    """
    inner = _made(base)
    own_weights(inner, modules)
    return inner


def _made(spec: Mapping[str, Any]) -> nn.Module:
    part = catalog().get("model", spec["model"])
    made: nn.Module = part.load()(**{k: v for k, v in spec.items() if k not in ("model", "weights")})
    return made
