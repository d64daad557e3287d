"""Bottleneck adapters put behind the blocks of trained models, and those of several tasks put together (``initialize``)."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import Module

from kdrun.errors import InputError
from kdrun.models.bottlenecks import AdapterSite, ScaledSum, adapter_sites
from kdrun.models.building import build
from kdrun.registry import initialize
from kdrun.types import Count, Fraction, NonNegative

__all__ = [
    "adapter_attention",
    "averaged_adapters",
    "bottleneck_adapters",
    "generator_on",
    "scaled_adapters",
    "wrapped",
]


@initialize
def bottleneck_adapters(
    model: Module,
    *,
    modules: list[str] | None = None,
    width: Count = 8,
    trainable: list[str] | None = None,
    generator: torch.Generator,
) -> Module:
    """The model, frozen, with a bottleneck of this ``width`` behind each block that changes nothing yet (Houlsby et al., 2019).

    ``h + U ReLU(D h + a) + b`` with U, a and b 0 and D uniform between ±1 / √features. They stand behind what the model names
    ``tokens_i``, or behind the modules whose paths are or end in ``modules``; ``trainable`` are modules of the model that train, too,
    such as its ``head``. Raises ``InputError`` if a name fits no module, or the model names no blocks.
    """
    own = {"modules": modules, "width": width, "trainable": trainable}
    adapted = wrapped("bottleneck_adapters", model, own)
    for site in adapter_sites(adapted).values():
        site.bottlenecks.draw(generator_on(generator, site.bottlenecks.down))
    return adapted


@initialize
def scaled_adapters(
    model: Module,
    sources: list[Module],
    *,
    trainable: list[str] | None = None,
    granularity: Literal["vector", "scalar"] = "vector",
    shared: bool = False,
    normalise: Literal["none", "mean", "softmax"] = "none",
    dropout: Fraction = 0.3,
    start: float = 2.0,
    spread: NonNegative = 0.001,
    learned: bool = True,
    generator: torch.Generator,
) -> Module:
    """The model with the adapters of all ``sources``, each behind coefficients drawn from ``N(start / n, spread²)`` (Frohmann et al., 2024).

    The n sources are models with a ``bottleneck_adapters`` each, of one architecture, in this order; the model has none and gives the
    head. Both stay frozen but for the coefficients, if ``learned``, and for the modules ``trainable``; options are those of the model
    ``scaled_adapters``. Raises ``InputError`` for a source without adapters, or of another architecture than the model.
    """
    own: dict[str, Any] = {"trainable": trainable, "granularity": granularity, "shared": shared, "normalise": normalise}
    own |= {"dropout": dropout, "learned": learned}
    adapted = _gathered("scaled_adapters", model, sources, own)
    drawn: list[Tensor] = []
    for site in adapter_sites(adapted).values():
        if isinstance(site.combine, ScaledSum) and not any(scale is site.combine.scale for scale in drawn):
            drawn.append(site.combine.scale)
    with torch.no_grad():
        for scale in drawn:
            scale.normal_(start / len(sources), spread, generator=generator_on(generator, scale))
    return adapted


@initialize
def adapter_attention(
    model: Module, sources: list[Module], *, trainable: list[str] | None = None, generator: torch.Generator
) -> Module:
    """The model with the adapters of all ``sources``, mixed for each token by attention that is to be trained (Pfeiffer et al., 2021).

    As of the model ``adapter_attention``: queries and keys are drawn, from N(0, 0.02²) with biases of 0, and values start at the
    identity. Sources, what trains and what is raised are as of ``scaled_adapters``.
    """
    adapted = _gathered("adapter_attention", model, sources, {"trainable": trainable})
    with torch.no_grad():
        for site in adapter_sites(adapted).values():
            for layer in (site.combine.query, site.combine.key):  # type: ignore[union-attr]
                layer.weight.normal_(0.0, 0.02, generator=generator_on(generator, layer.weight))  # type: ignore[operator,union-attr,arg-type]
                layer.bias.zero_()  # type: ignore[operator,union-attr]
    return adapted


@initialize
def averaged_adapters(model: Module, sources: list[Module], *, trainable: list[str] | None = None) -> Module:
    """The model with one frozen adapter behind each block, whose weights are the mean of those of all ``sources`` (Chronopoulou et al., 2023).

    Sources, what trains and what is raised are as of ``scaled_adapters``. With one source it is that source's adapter, once.
    """
    options = {"trainable": trainable, "dropout": 0.0, "learned": False}
    soup = _gathered("scaled_adapters", model, sources, {**options, "count": 1})
    with torch.no_grad():
        for site in adapter_sites(soup).values():
            if isinstance(site.combine, ScaledSum):
                site.combine.scale.fill_(1.0)
    return soup


def wrapped(kind: str, model: Module, own: dict[str, Any]) -> Module:
    """A model of this kind around the weights of ``model``."""
    base = {k: False if k == "pretrained" else v for k, v in dict(model.kdrun_spec).items() if k != "weights"}  # type: ignore[arg-type]
    built = build({"model": kind, "base": base, **own})
    given = model.state_dict()
    built.load_state_dict({k: given.get(k, v) for k, v in built.state_dict().items()})
    return built


def _gathered(kind: str, model: Module, sources: list[Module], own: dict[str, Any]) -> Module:
    """A model of this kind with the adapters of the sources, in their order, each as one of the rows of its bottlenecks, or their mean."""
    held = [_held(source, model) for source in sources]
    spec: dict[str, Any] = dict(sources[0].kdrun_spec)  # type: ignore[arg-type]
    own = {"count": len(sources), "modules": spec["modules"], "width": spec["width"], **own}
    gathered = wrapped(kind, model, own)
    with torch.no_grad():
        for path, site in adapter_sites(gathered).items():
            for name, value in site.bottlenecks.named_parameters():
                rows = torch.cat([sites[path].bottlenecks.get_parameter(name) for sites in held])
                value.copy_(rows if len(value) == len(rows) else rows.mean(0, keepdim=True))
    return gathered


def _held(source: Module, model: Module) -> dict[str, AdapterSite]:
    """The adapters of a source, whose architecture but for the head is that of the model."""
    spec: dict[str, Any] = dict(getattr(source, "kdrun_spec", {}))
    if spec.get("model") != "bottleneck_adapters":
        raise InputError(f"a source is a model with a bottleneck adapter, got a '{spec.get('model')}'")
    own: dict[str, Any] = dict(model.kdrun_spec)  # type: ignore[arg-type]
    apart = [
        k for k, v in own.items() if k not in ("num_classes", "weights", "pretrained") and spec["base"].get(k) != v
    ]
    if apart:
        raise InputError(f"a source's adapters fit models of its architecture: '{apart[0]}' is another one here")
    return adapter_sites(source)


def generator_on(generator: torch.Generator, value: Tensor) -> torch.Generator:
    """The generator itself, or one of its numbers' on the tensor's device."""
    if generator.device.type == value.device.type:
        return generator
    return torch.Generator(value.device).manual_seed(int(torch.randint(1 << 62, (), generator=generator)))
