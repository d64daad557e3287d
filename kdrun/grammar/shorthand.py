"""Steps in short: one update without ``updates``, rates as factors, lists of models as roles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kdrun.errors import InputError

__all__ = ["with_lists", "with_rates", "with_updates"]

ONE_UPDATE = ("minimize", "train", "optimizer", "every", "gradient", "through", "average", "batch", "start", "groups")


def with_updates(step: Mapping[str, Any], *, key: str) -> dict[str, Any]:
    """``{nodes, minimize, train, optimizer}`` as ``{nodes, updates: {main: {...}}}``.

    Raises ``InputError`` for a step that has both.
    """
    own = {word: step[word] for word in ONE_UPDATE if step.get(word) is not None}
    step = {word: content for word, content in step.items() if word not in ONE_UPDATE or content is not None}
    if not own:
        return {**step, "updates": _pruned(step["updates"])} if step.get("updates") else dict(step)
    if step.get("updates"):
        raise InputError(
            f"'{next(iter(own))}' belongs to an update: the step has updates of its own names", key=f"{key}.updates"
        )
    rest = {word: content for word, content in step.items() if word not in ONE_UPDATE and word != "updates"}
    return {**rest, "updates": _pruned({"main": own})}


_NAMED = ("minimize", "train", "average", "groups")


def _pruned(updates: Any) -> Any:
    """Updates without what a later layer took away by null."""
    if not isinstance(updates, Mapping):
        return updates
    found: dict[str, Any] = {}
    for name, update in updates.items():
        if isinstance(update, Mapping):
            found[name] = {
                word: {k: v for k, v in value.items() if v is not None}
                if word in _NAMED and isinstance(value, Mapping)
                else value
                for word, value in update.items()
                if value is not None
            }
        elif update is not None:
            found[name] = update
    return found


def with_rates(step: Mapping[str, Any], rates: Mapping[str, float], *, key: str) -> dict[str, Any]:
    """Groups with ``lr_factor`` get their rate: that of the update's optimizer times the factor.

    ``rates`` are the learning rates of the optimizers handed in, by role.
    """
    if not any("groups" in u for u in (step.get("updates") or {}).values() if isinstance(u, Mapping)):
        return dict(step)
    updates = {
        name: _rated(update, rates, f"{key}.updates.{name}") if isinstance(update, Mapping) else update
        for name, update in step["updates"].items()
    }
    return {**step, "updates": updates}


def _rated(update: Mapping[str, Any], rates: Mapping[str, float], key: str) -> dict[str, Any]:
    groups = {}
    for path, group in (update.get("groups") or {}).items():
        if isinstance(group, Mapping) and "lr_factor" in group:
            if "lr" in group:
                raise InputError("a group has a rate or a factor, not both", key=f"{key}.groups.{path}.lr_factor")
            rest = {k: v for k, v in group.items() if k != "lr_factor"}
            group = {**rest, "lr": _rate(update, rates, key) * _number(group["lr_factor"], f"{key}.groups.{path}")}
        groups[path] = group
    return {**update, "groups": groups} if groups else dict(update)


def _number(value: Any, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise InputError(f"a factor is a number of 0 or more, got {value!r}", key=f"{key}.lr_factor")
    return value


def _rate(update: Mapping[str, Any], rates: Mapping[str, float], key: str) -> float:
    optimizer = update.get("optimizer")
    rate = optimizer.get("lr") if isinstance(optimizer, Mapping) else rates.get(str(optimizer))
    if isinstance(rate, bool) or not isinstance(rate, int | float):
        raise InputError("lr_factor needs an optimizer with a rate lr", key=f"{key}.optimizer")
    return rate


def with_lists(inputs: Mapping[str, Any], step: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Roles that are lists become one role a member: ``experts`` stands for ``experts_0``, ``experts_1``, …

    ``{each: experts, call: "experts_{}"}`` in the step goes over their numbers. Returns the inputs and the step.
    """
    lists = {name: len(item) for name, item in inputs.items() if isinstance(item, list)}
    if not lists:
        return dict(inputs), dict(step)
    found: dict[str, Any] = {}
    for name, item in inputs.items():
        found.update({f"{name}_{i}": one for i, one in enumerate(item)} if name in lists else {name: item})
    nodes = {
        name: {**node, "each": list(range(lists[node["each"]]))}
        if isinstance(node, Mapping) and isinstance(node.get("each"), str) and node["each"] in lists
        else node
        for name, node in (step.get("nodes") or {}).items()
    }
    return found, {**step, "nodes": nodes}
