"""What the tables of stages will hold, as far as their nodes say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kdrun.errors import InputError
from kdrun.grammar.measurements import ANY
from kdrun.grammar.nodes import Graph, Node
from kdrun.graph.types import part_of
from kdrun.registry import catalog, check_of, columns_of

__all__ = ["check_evaluate", "of_benchmark", "of_evaluate", "of_measure", "of_summarize", "require_distinct"]

Cell = tuple[int | None, str]


@columns_of("evaluate")
def of_evaluate(node: Node) -> list[Cell]:
    """A row for each of several models, which it numbers, with a column for each metric."""
    models = part_of(node).bind(node.inputs, key=node.key).get("model")
    if not isinstance(models, list) or len(models) < 2:
        return of_measure(node)
    return [(row, column) for row in range(len(models)) for _, column in [*of_measure(node), (None, "model")]]


@columns_of("measure")
def of_measure(node: Node) -> list[Cell]:
    """A column for each metric."""
    return [(None, _of_metric(content)) for content in node.params["metrics"]]


@columns_of("summarize")
def of_summarize(node: Node) -> list[Cell]:
    """A column for each statistic of a column."""
    columns: Mapping[str, list[str]] = node.params["columns"]
    return [(None, f"{column}.{statistic}") for column, wanted in columns.items() for statistic in wanted]


@columns_of("benchmark")
def of_benchmark(node: Node) -> list[Cell]:
    """A column for each node whose time is taken."""
    return [(None, name) for name in node.params["nodes"]]


def _of_metric(content: Mapping[str, Any]) -> str:
    """A column, or any number of them, behind the given name, where the metric returns several values."""
    part, name = catalog().get("metric", content["metric"]), content.get("name")
    if part.returns in ("float", "int"):
        return str(name or part.name)
    return f"{name}.{ANY}" if name else ANY


def require_distinct(metrics: Sequence[Mapping[str, Any]], key: str) -> None:
    """Raise ``InputError`` if two metrics of one table would fill the same column."""
    seen = set()
    for i, content in enumerate(metrics):
        label = content.get("name") or content.get("metric")
        if label in seen:
            raise InputError(f"two metrics here are called '{label}': give each a name of its own", key=f"{key}.{i}")
        seen.add(label)


@check_of("evaluate")
def check_evaluate(node: Node, graph: Graph) -> None:
    """Each metric has a column of its own."""
    require_distinct(node.params.get("metrics") or [], f"{node.key}.metrics")
