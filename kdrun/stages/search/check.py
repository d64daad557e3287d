"""What can be said of a ``search`` stage before anything is imported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kdrun.errors import InputError
from kdrun.grammar.nodes import Graph, Node, Ref
from kdrun.grammar.steps import parse_step
from kdrun.graph.check import nested_parts
from kdrun.registry import check_of, parts_of
from kdrun.step.names import Names, check_ref, check_step_node

__all__ = ["check", "parts_of_scores"]


@check_of("search")
def check(node: Node, graph: Graph) -> None:
    """Scores are step graphs that may call ``candidate``, or parts that reduce a model and data."""
    for name, content in (node.params.get("scores") or {}).items():
        key = f"{node.key}.scores.{name}"
        if not isinstance(content, dict) or ("nodes" not in content) == ("reduce" not in content):
            raise InputError("a score reads {nodes: {...}, value: {node: weight}} or {reduce: NAME}", key=key)
        if "nodes" in content:
            _check_nodes(content, node, graph, key)


def _check_nodes(content: Mapping[str, Any], node: Node, graph: Graph, key: str) -> None:
    step = parse_step({"nodes": content["nodes"]}, key=key)
    names = Names(step, node, graph)
    names.types["candidate"] = "model"
    for step_node in step.nodes.values():
        check_step_node(step_node, step, names)
    step.order()
    weights = content.get("value")
    if not isinstance(weights, dict) or not weights:
        raise InputError("value maps nodes to their weights in the score", key=f"{key}.value")
    for target in weights:
        check_ref(Ref.parse(target, key=f"{key}.value"), step, names, key=f"{key}.value.{target}")


@parts_of("scores")
def parts_of_scores(content: Mapping[str, Any], key: str) -> Iterator[tuple[str, str]]:
    """The ops of each score's nodes, and the parts that reduce."""
    for kind, name, _, _ in nested_parts(dict(content), key):
        yield kind, name
    for score in content.values():
        for body in score.get("nodes", {}).values():
            if "op" in body:
                yield "op", body["op"]
