"""What of a run graph is computed, and in which order: what is read comes first, what nothing wants is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kdrun.errors import InputError, nearest
from kdrun.grammar.nodes import SOURCES, Graph, Node, Ref
from kdrun.graph.types import is_shown, value_type

__all__ = ["in_order", "needed", "wanted"]


def in_order(graph: Graph) -> Graph:
    """Order nodes so that each stands after what it reads. Raises ``InputError`` on an unknown name or a cycle."""
    order: dict[str, Node] = {}
    for first in graph.nodes:
        path = [first] if first not in order else []
        while path:
            node = graph.nodes[path[-1]]
            missing = next((ref for ref in node.refs() if ref.name not in order), None)
            if missing is None:
                order[path.pop()] = node
                continue
            if missing.name not in graph.nodes:
                raise InputError(
                    f"there is no node '{missing.name}'{nearest(missing.name, graph.nodes)}", key=f"{node.key}.from"
                )
            if missing.name in path:
                cycle = " -> ".join([*path[path.index(missing.name) :], missing.name])
                raise InputError(f"these stages wait for each other: {cycle}", key=graph.nodes[missing.name].key)
            path.append(missing.name)
    return Graph(order)


def wanted(graph: Graph, config: Mapping[str, Any]) -> list[str]:
    """The nodes whose results are wanted: final tables, what is made to be shown, and what ``results`` names; else all final stages."""
    named = config.get("results") or []
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise InputError("results lists nodes to compute beside the tables", key="results")
    for name in named:
        if name not in graph.nodes:
            raise InputError(f"there is no node '{name}'{nearest(name, graph.nodes)}", key="results")
    sinks = [node.name for node in graph.sinks()]
    tables = [name for name in sinks if value_type(Ref(name), graph, key="results") == "table"]
    shown = [name for name in sinks if name not in named and is_shown(graph.nodes[name])]
    return [*tables, *shown, *named] if tables or named else sinks


def needed(graph: Graph, targets: Sequence[str]) -> Graph:
    """The sources, and the nodes that the targets read, in the same order."""
    found: set[str] = set()
    todo = list(targets)
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += [ref.name for ref in graph.nodes[name].refs()]
    return Graph({n: node for n, node in graph.nodes.items() if n in found or node.verb in SOURCES}, tuple(targets))
