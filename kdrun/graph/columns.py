"""Which numbers a graph will measure, as far as its tables' columns are known without running, and its objective among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kdrun.grammar.measurements import ANY, label, look_up
from kdrun.grammar.nodes import Graph
from kdrun.grammar.objective import parse_objective
from kdrun.graph.types import said

__all__ = ["check_objective", "labels"]


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
