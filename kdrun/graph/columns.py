"""Which numbers a graph will measure, as far as its tables' columns are known without running, and its objective among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kdrun.grammar.nodes import Graph, Node
from kdrun.grammar.objective import parse_objective
from kdrun.graph.types import part_of
from kdrun.registry import catalog
from kdrun.runtime.measurements import ANY, label, look_up

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
        several = _models(node)
        rows: list[int | None] = [None] if several is None else list(range(several))
        columns = _columns(node) if several is None else [*_columns(node), "model"]
        found += [label(node.name, row, column) for row in rows for column in columns]
    return found


def _models(node: Node) -> int | None:
    """How many models have a row each; None where the stage scores one, or none at all."""
    part = part_of(node)
    bound = part.bind(node.inputs, key=node.key) if node.verb == "stage" else {}
    models = next((bound.get(i.name) for i in part.inputs if i.annotation == "Model | list[Model]"), None)
    return len(models) if isinstance(models, list) and len(models) > 1 else None


def _columns(node: Node) -> list[str]:
    """A stage with ``metrics`` has a column for each, one with ``columns`` one for each statistic of a column."""
    part, params = part_of(node), node.params
    if node.by is not None or part.options.get("value") != "table" or part.options.get("columns") == "open":
        return [ANY]
    if isinstance(params.get("metrics"), list):
        return [column for content in params["metrics"] for column in _of_metric(content)]
    if isinstance(params.get("columns"), dict):
        return [f"{column}.{statistic}" for column, wanted in params["columns"].items() for statistic in wanted]
    return [ANY]


def _of_metric(content: Mapping[str, Any]) -> list[str]:
    """One column, or any number of them behind the given name where the metric returns several values."""
    part, name = catalog().get("metric", content["metric"]), content.get("name")
    if part.returns in ("float", "int"):
        return [name or part.name]
    return [f"{name}.{ANY}"] if name else [ANY]
