"""What can be said of ``measure`` and ``compute`` stages before anything is imported."""

from __future__ import annotations

from collections.abc import Iterator

from kdrun.errors import InputError, nearest
from kdrun.grammar.nodes import Graph, Node
from kdrun.registry import catalog, check_of
from kdrun.stages.columns import require_distinct
from kdrun.stages.scoring import bound_inputs
from kdrun.step.check import Reader, check_step, reader

__all__ = ["check_compute", "check_measure", "read_by_metrics"]


def read_by_metrics(node: Node) -> Iterator[Reader]:
    """What each metric reads, with its key."""
    for i, content in enumerate(node.params.get("metrics") or []):
        yield reader(content.get("from"), key=f"{node.key}.metrics.{i}.from")


@check_of("measure")
def check_measure(node: Node, graph: Graph) -> None:
    """Metrics read nodes of the step or, without one, what is handed in; each says what."""
    if isinstance(node.params.get("step"), dict):
        check_step(node, graph, read_by_metrics(node))
    else:
        named = list(node.inputs) if isinstance(node.inputs, dict) else []
        for refs, key in read_by_metrics(node):
            for ref in refs:
                if ref.name not in named:
                    raise InputError(f"nothing called '{ref.name}' is handed in{nearest(ref.name, named)}", key=key)
    require_distinct(node.params.get("metrics") or [], f"{node.key}.metrics")
    for i, content in enumerate(node.params.get("metrics") or []):
        key = f"{node.key}.metrics.{i}"
        part = catalog().get("metric", content["metric"], key=f"{key}.metric")
        bound_inputs(part, content, key)


@check_of("compute")
def check_compute(node: Node, graph: Graph) -> None:
    """The nodes whose values are kept are nodes of the step."""
    check_step(node, graph, [reader(node.params.get("of"), key=f"{node.key}.of")])
