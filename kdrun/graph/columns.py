"""Which numbers a graph will measure, as far as its tables' columns are known without running, and its objective among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kdrun.grammar.measurements import ANY, label, look_up
from kdrun.grammar.nodes import Graph
from kdrun.grammar.objective import parse_objective
from kdrun.graph.types import said
from kdrun.registry import catalog

__all__ = ["check_objective", "labels", "lowest"]


def check_objective(config: Mapping[str, Any], graph: Graph) -> None:
    """Raise ``InputError`` (key ``objective``) for an objective that the graph will not measure."""
    objective = parse_objective(config.get("objective"))
    if objective is not None:
        key = "objective.metric" if isinstance(config["objective"], Mapping) else "objective"
        look_up(objective.metric, labels(graph), what="nothing here measures", key=key)


def labels(graph: Graph) -> list[str]:
    """The labels of all numbers in the tables that the graph is computed for.

    One that ends in ``*`` stands for columns that are known only after the run.
    """
    found = []
    for node in (graph.nodes[name] for name in graph.targets):
        own = said("columns_of", node)
        found += [label(node.name, row, column) for row, column in (own(node) if own else [(None, ANY)])]
    return found


def lowest(graph: Graph) -> list[str]:
    """The labels of those numbers of which less is better, as far as the metrics that give them say it."""
    found = []
    for node in (graph.nodes[name] for name in graph.targets):
        cells = (said("columns_of", node) or (lambda node: []))(node)
        for content in node.params.get("metrics") or ():
            part = catalog().find("metric", str(content.get("metric")))
            if part is not None and part.options.get("best") == "lowest":
                column = str(content.get("name") or part.name)
                found += [label(node.name, row, name) for row, name in cells if name == column]
    return found
