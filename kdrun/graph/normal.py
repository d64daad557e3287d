"""A node in its plain form: names replaced by what they stand for, short forms written out, nulls left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kdrun.errors import InputError, nearest
from kdrun.grammar.each import expand_each
from kdrun.grammar.nodes import Node, Ref
from kdrun.grammar.shorthand import with_lists, with_rates, with_updates
from kdrun.registry import catalog

__all__ = ["normalized"]


def normalized(node: Node, config: Mapping[str, Any]) -> Node:
    """Replace names by what they stand for: named steps, metrics given as bare strings; leave out what is null."""
    params = _without_defaults(node.kind, node.part_name, node.params)
    if isinstance(params.get("step"), str):
        steps = config.get("steps") or {}
        if params["step"] not in steps:
            raise InputError(
                f"no step is called '{params['step']}'{nearest(params['step'], steps)}", key=f"{node.key}.step"
            )
        params["step"] = steps[params["step"]]
    inputs = node.inputs
    if "models" in params:
        params["models"] = _without_nulls(params["models"])
    if isinstance(params.get("step"), dict):
        step = with_updates(params["step"], key=f"{node.key}.step")
        step = {k: _without_nulls(v) for k, v in step.items()}
        if isinstance(inputs, dict):
            inputs, step = with_lists(inputs, step)
            step = with_rates(step, _rates(inputs, config), key=f"{node.key}.step")
        params["step"], models = expand_each(_without_null_parameters(step), params.get("models") or {}, key=node.key)
        params.update({"models": models} if models else {})
    if isinstance(params.get("metrics"), list):
        params["metrics"] = [{"metric": m} if isinstance(m, str) else m for m in params["metrics"]]
    return replace(node, params=params, inputs=inputs)


def _without_defaults(kind: str, name: Any, params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters without those that a layer took away by null, where null itself is no value."""
    part = catalog().find(kind, name) if isinstance(name, str) else None
    known = part.parameters if part is not None else {}
    return {
        k: v
        for k, v in params.items()
        if v is not None or not (k == "augment" or (k in known and "None" not in known[k].annotation))
    }


def _without_null_parameters(step: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(step.get("nodes") or {}, Mapping):
        return dict(step)  # which is told of where steps are read
    nodes = {
        name: _without_defaults("op", node["op"], node) if isinstance(node, dict) and "op" in node else node
        for name, node in (step.get("nodes") or {}).items()
    }
    return {**step, "nodes": nodes} if nodes else dict(step)


def _rates(inputs: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """The learning rates of the optimizers that are handed in, by role."""
    found = {}
    for role, ref in inputs.items():
        source = config.get(ref.name) if isinstance(ref, Ref) else None
        if isinstance(source, Mapping) and isinstance(source.get("optimizer"), str):
            part = catalog().find("optimizer", source["optimizer"])
            found[role] = part.with_defaults(source).get("lr") if part is not None else source.get("lr")
    return found


def _without_nulls(content: Any) -> Any:
    """A node set to null by a later layer is gone."""
    return {k: v for k, v in content.items() if v is not None} if isinstance(content, dict) else content
