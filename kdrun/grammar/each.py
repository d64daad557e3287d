"""``each``: one line for several nodes or models of a step that differ in a number or a name.

u: {each: [0, 1, 2], call: "map_{}", from: ["s.f{}"]}      # u_0, u_1, u_2; elsewhere `u` means all three
flow: {each: [[0, 1], [1, 2]], op: ..., from: ["u_{0}", "u_{1}"]}      # flow_0_1, flow_1_2
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from kdrun.errors import InputError
from kdrun.grammar.overlay import entries
from kdrun.limits import Limits

__all__ = ["copies", "expand_each"]


def expand_each(
    step: Mapping[str, Any], models: Mapping[str, Any], *, key: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the step and the models with every ``each`` written out. Raises ``InputError`` for a malformed one."""
    names: dict[str, list[str]] = {}
    written = {
        "models": _written(models, names, f"{key}.models"),
        "nodes": _written(step.get("nodes") or {}, names, f"{key}.step.nodes"),
    }
    if not names:
        return dict(step), dict(models)
    nodes = {name: _with_all(node, names) for name, node in written["nodes"].items()}
    updates = {
        name: {**update, "train": _train(update.get("train"), names)} if isinstance(update, dict) else update
        for name, update in (step.get("updates") or {}).items()
    }
    return {**step, "nodes": nodes, **({"updates": updates} if updates else {})}, written["models"]


def _written(content: Any, names: dict[str, list[str]], key: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, body in (content if isinstance(content, Mapping) else {}).items():
        if not isinstance(body, Mapping) or "each" not in body:
            found[name] = body
            continue
        written = {"_".join([name, *values]): copy for values, copy in copies(body, key=f"{key}.{name}")}
        found.update(written)
        names[name] = list(written)
    return found


def copies(body: Mapping[str, Any], *, key: str) -> Iterator[tuple[list[str], dict[str, Any]]]:
    """What a mapping with ``each`` stands for: for every item its values, and the mapping with these filled in."""
    items = body["each"]
    if not isinstance(items, list) or not items:
        raise InputError("each takes a list: each: [0, 1, 2]", key=f"{key}.each")
    limits = Limits()
    limits.refuse_beyond("loop_items", len(items), "items of each", key=f"{key}.each")
    limits.refuse_beyond("copies", len(items) * entries(body), "entries that each copies", key=f"{key}.each")
    rest = {k: v for k, v in body.items() if k != "each"}
    for item in items:
        values = [str(v) for v in (item if isinstance(item, list) else [item])]
        limits.refuse_beyond("name_length", sum(map(len, values)), "characters of an item of each", key=f"{key}.each")
        yield values, _filled(rest, values, key)


def _filled(value: Any, items: list[str], key: str) -> Any:
    """Replace ``{}`` and ``{0}``, ``{1}`` in every text."""
    if isinstance(value, Mapping):
        return {_filled(k, items, key): _filled(v, items, key) for k, v in value.items()}
    if isinstance(value, list):
        return [_filled(v, items, key) for v in value]
    if not isinstance(value, str):
        return value

    def chosen(match: re.Match[str]) -> str:
        place = int(match.group(1) or 0)
        if place >= len(items):
            raise InputError(f"'{value}' asks for item {place} of {len(items)}", key=key)
        return items[place]

    return re.sub(r"\{(\d*)\}", chosen, value)


def _with_all(node: Any, names: Mapping[str, list[str]]) -> Any:
    """A reference to the common name, in a list, stands for all nodes of that name."""
    if not isinstance(node, Mapping) or not isinstance(node.get("from"), list):
        return node
    inputs: list[Any] = []
    for item in node["from"]:
        inputs += _all(item, names) if isinstance(item, str) else [item]
    return {**node, "from": inputs}


def _all(reference: str, names: Mapping[str, list[str]]) -> list[str]:
    name, dot, field = reference.partition(".")
    return [f"{label}{dot}{field}" for label in names.get(name, [name])]


def _train(train: Any, names: Mapping[str, list[str]]) -> Any:
    if isinstance(train, Mapping):
        return {label: wanted for entry, wanted in train.items() for label in _all(entry, names)}
    if isinstance(train, list):
        return [label for entry in train for label in (_all(entry, names) if isinstance(entry, str) else [entry])]
    return train
