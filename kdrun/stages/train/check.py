"""What can be said of a ``train`` stage before anything is imported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kdrun.errors import InputError
from kdrun.grammar.nodes import Graph, Node, parse_node
from kdrun.grammar.steps import parse_step
from kdrun.graph.check import nested_parts
from kdrun.graph.types import Fields
from kdrun.registry import catalog, check_of, fields_of, parts_of
from kdrun.step.check import check_step, reader

__all__ = ["check", "fields", "parts_of_refresh"]


@fields_of("train")
def fields(node: Node) -> Fields:
    """Each model by its role, averages, and tables; the node alone means the first model handed in that an update trains."""
    inputs = node.inputs if isinstance(node.inputs, dict) else {}
    roles = [*inputs, *dict(node.params.get("models") or {})]
    named = {**dict.fromkeys(roles, "model"), "log": "table", "cost": "table", "average": "model"}
    if node.params.get("refresh"):
        named["chosen"] = "tensor"
    trained = parse_step(node.params["step"], key=f"{node.key}.step").trained()
    main = next((role for role in inputs if role in trained), trained[0] if trained else "")
    return Fields("model", named, main=main)


@check_of("train")
def check(node: Node, graph: Graph) -> None:
    """Check the step, and the op that chooses rows anew."""
    refresh = node.params.get("refresh")
    readers = [reader(refresh.get("from"), key=f"{node.key}.refresh.from")] if isinstance(refresh, dict) else []
    check_step(node, graph, readers)
    if refresh is not None:
        _check_refresh(refresh, f"{node.key}.refresh")
    step = parse_step(node.params["step"], key=f"{node.key}.step")
    if int(node.params.get("accumulate", 1)) > 1 and len(step.updates) > 1:
        raise InputError("gradients are accumulated in steps with one update", key=f"{node.key}.accumulate")


def _check_refresh(refresh: Any, key: str) -> None:
    inner = parse_node("refresh", refresh, key=key, verbs=("op",))
    part = catalog().get("op", inner.part, key=f"{inner.key}.op")
    scheduled = {k for k, v in inner.params.items() if isinstance(v, dict) and "schedule" in v}
    own = {k: v for k, v in inner.params.items() if k != "every" and k not in scheduled}
    part.validate(own, key=inner.key, later=scheduled)
    part.bind(inner.inputs, key=inner.key)


@parts_of("refresh")
def parts_of_refresh(content: Mapping[str, Any], key: str) -> Iterator[tuple[str, str]]:
    """The op that chooses rows, and the schedules of its parameters."""
    yield "op", content["op"]
    yield from ((kind, name) for kind, name, _, _ in nested_parts(dict(content), key))
