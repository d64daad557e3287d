"""Where what a stage was handed stands in the configuration."""

from __future__ import annotations

from kdrun.errors import KdrunError
from kdrun.grammar.nodes import Graph, Node, Ref
from kdrun.graph.types import part_of

__all__ = ["at_its_source"]


def at_its_source(error: KdrunError, node: Node, graph: Graph) -> KdrunError:
    """Let an error about the weights of a stage's role name the key that gave them: ``student.weights``, not ``model.weights``."""
    role, dot, rest = (error.key or "").partition(".weights")
    if not dot:
        return error
    name, _, place = role.partition(".")
    bound = part_of(node).bind(node.inputs, key=node.key)
    given = bound.get(name)
    ref = given[int(place)] if isinstance(given, list) and place.isdigit() and int(place) < len(given) else given
    if isinstance(ref, Ref) and graph.nodes[ref.name].verb == "model":
        error.key = f"{graph.nodes[ref.name].key}.weights{rest}"
    elif name in (node.params.get("models") or {}):
        error.key = f"{node.key}.models.{name}.weights{rest}"
    return error
