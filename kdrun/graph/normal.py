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
    if node.verb == "data" and isinstance(params.get("normalize"), str):
        params["normalize"] = _model_named(params["normalize"], config, key=f"{node.key}.normalize")
    inputs = node.inputs
    if "models" in params:
        if not isinstance(params["models"], Mapping):
            raise InputError("models are a mapping from roles to models", key=f"{node.key}.models")
        params["models"] = _without_nulls(params["models"])
    if isinstance(params.get("step"), dict):
        step = with_updates(params["step"], key=f"{node.key}.step")
        step = {k: _without_nulls(v) for k, v in step.items()}
        if isinstance(inputs, dict):
            inputs, step = with_lists(inputs, step)
            step = with_rates(step, _rates(inputs, config), key=f"{node.key}.step")
        params["step"], models = expand_each(_without_null_parameters(step), params.get("models") or {}, key=node.key)
        params.update({"models": models} if models else {})
    params = _with_metrics(params, node.key)
    if isinstance(params.get("validate"), Mapping):
        params["validate"] = _with_metrics(params["validate"], f"{node.key}.validate")
    return replace(node, params=params, inputs=inputs)


def _with_metrics(content: Mapping[str, Any], key: str) -> dict[str, Any]:
    """A metric given by its name alone, as a mapping."""
    if not isinstance(content.get("metrics"), list):
        return dict(content)
    return {**content, "metrics": [_metric(m, f"{key}.metrics.{i}") for i, m in enumerate(content["metrics"])]}


def _model_named(name: str, config: Mapping[str, Any], *, key: str) -> dict[str, Any]:
    """Which model a group says, and which one of its kind, without sizes and weights."""
    found = config.get(name)
    if not isinstance(found, Mapping) or not isinstance(found.get("model"), str):
        known = [group for group, content in config.items() if isinstance(content, Mapping) and "model" in content]
        raise InputError(f"normalize names a model: {', '.join(known)}; got '{name}'{nearest(name, known)}", key=key)
    return {word: found[word] for word in ("model", "name") if word in found}


def _metric(content: Any, key: str) -> Mapping[str, Any]:
    found = {"metric": content} if isinstance(content, str) else content
    if not isinstance(found, Mapping) or not isinstance(found.get("metric"), str):
        raise InputError(f"a metric is a name or {{metric: NAME, ...}}, got {content!r}", key=key)
    return found


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
