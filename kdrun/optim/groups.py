"""Which settings of an optimizer hold for which parameters: by path, by shape, and by depth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn

__all__ = ["depths", "parameter_groups"]

Rules = Mapping[str, Mapping[str, Any]]


def parameter_groups(
    named: Mapping[str, Tensor],
    rules: Rules,
    *,
    decay_matrices_alone: bool = False,
    factors: Mapping[str, float] | None = None,
    lr: Any = None,
) -> list[Any]:
    """What torch's optimizers take: the parameters themselves, or groups of them with settings of their own.

    ``rules`` are settings by path (``student.head: {lr: 0.1}``), of which the longest that fits holds.
    ``decay_matrices_alone``: no weight decay for parameters of one dimension or none (biases, scales of norms), save where a
    rule states it. ``factors`` multiply the rate, which is the rule's or ``lr``, by parameter.
    """
    if not rules and not decay_matrices_alone and not factors:
        return list(named.values())
    chosen: dict[tuple[str, bool, float], list[Tensor]] = {}
    for name, parameter in named.items():
        match = max((r for r in rules if name == r or name.startswith(f"{r}.")), key=len, default="")
        spared = decay_matrices_alone and parameter.dim() < 2 and "weight_decay" not in rules.get(match, {})
        factor = factors[name] if factors else 1.0
        chosen.setdefault((match, spared, factor), []).append(parameter)
    groups = []
    for (rule, spared, factor), parameters in sorted(chosen.items(), key=lambda one: -one[0][2]):
        own = dict(rules.get(rule, {}))
        if factor != 1.0:
            own["lr"] = own.get("lr", lr) * factor
        groups.append({"params": parameters, **own, **({"weight_decay": 0.0} if spared else {})})
    return groups


def depths(module: nn.Module) -> dict[str, int]:
    """By name of a parameter, how many layers stand between it and the output: 0 for those of the last one.

    Layers are the parts of the model in the order of their definition; a list of blocks (``Sequential``, ``ModuleList``) counts
    block by block. Parameters of the model itself, such as position embeddings, belong to the first layer.
    """
    layers = [name for name, inner in _layers(module) if any(True for _ in inner.parameters())]
    last = max(len(layers) - 1, 0)
    places = {name: place for place, name in enumerate(layers)}
    found = {}
    for name, _ in module.named_parameters():
        own = max((layer for layer in places if name.startswith(f"{layer}.")), key=len, default=None)
        found[name] = last - (places[own] if own is not None else 0)
    return found


def _layers(module: nn.Module, prefix: str = "") -> Iterable[tuple[str, nn.Module]]:
    for name, child in module.named_children():
        if isinstance(child, nn.Sequential | nn.ModuleList):
            yield from _layers(child, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", child
