"""Training and evaluation modes of models: what is frozen rests with its statistics, and a mode of a moment is given back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

__all__ = ["in_mode", "rest_frozen_statistics"]


@contextlib.contextmanager
def in_mode(modules: Iterable[nn.Module], training: bool) -> Iterator[None]:
    """Put modules into training or evaluation mode for a while; afterwards each part has its own mode again."""
    before = [(inner, inner.training) for module in modules for inner in module.modules()]
    for inner, _ in before:
        inner.training = training
    try:
        yield
    finally:
        for inner, own in before:
            inner.training = own


def rest_frozen_statistics(module: nn.Module) -> None:
    """Put normalisations whose scale and shift do not train into evaluation mode: their running statistics stay.

    One without scale and shift rests with the innermost part around it that has parameters.
    """
    for path, inner in module.named_modules():
        if isinstance(inner, _NormBase) and inner.track_running_stats:
            place, parameters = path, list(inner.parameters())
            while place and not parameters:
                place = place.rpartition(".")[0]
                parameters = list(module.get_submodule(place).parameters())
            if parameters and not any(parameter.requires_grad for parameter in parameters):
                inner.eval()
