"""Which numbers a graph will measure, told before it runs."""

from __future__ import annotations

from kdrun.graph.check import check
from kdrun.graph.columns import labels


def config(**nodes) -> dict:
    sources = {
        "student": {"model": "mlp", "hidden": [4], "num_classes": 10, "in_features": 64},
        "data": {"data": "digits"},
    }
    return {**sources, "graph": nodes}


def evaluated(model, *metrics) -> dict:
    return {"stage": "evaluate", "from": {"model": model, "data": "data.test"}, "metrics": list(metrics)}


def test_a_graph_knows_the_columns_of_its_tables() -> None:
    graph = check(
        config(
            one=evaluated("student", "accuracy", {"metric": "nll", "name": "loss"}),
            each=evaluated(["student", "student"], "accuracy"),
            over={"stage": "summarize", "from": [["each"]], "columns": {"accuracy": ["mean", "max"]}},
        )
    )
    assert labels(graph) == ["one.accuracy", "one.loss", "over.accuracy.mean", "over.accuracy.max"]
    graph = check(config(each=evaluated(["student", "student"], "accuracy")))
    assert labels(graph) == ["each.0.accuracy", "each.0.model", "each.1.accuracy", "each.1.model"]


def test_columns_of_a_metric_with_several_values_are_open() -> None:
    several = {"metric": "h_score"}
    graph = check(config(one=evaluated("student", several, {**several, "name": "strict"})))
    assert labels(graph) == ["one.*", "one.strict.*"]


def test_what_another_stage_reads_is_no_result() -> None:
    read = {"stage": "summarize", "from": [["one"]], "columns": {"accuracy": ["mean"]}}
    graph = check({**config(one=evaluated("student", "accuracy"), over=read), "results": ["one"]})
    assert labels(graph) == ["over.accuracy.mean", "one.accuracy"]
