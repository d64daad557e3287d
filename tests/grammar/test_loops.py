"""Loops unrolled into plain nodes, and the values that they carry."""

from __future__ import annotations

import pytest

from kdrun.errors import InputError
from kdrun.grammar.loops import parse_graph
from kdrun.grammar.nodes import Ref


def graph(body: dict) -> dict:
    config = {"student": {"model": "cnn"}, "data": {"data": "digits"}, "graph": body}
    return parse_graph(config)


def refs(node) -> list[str]:
    return [str(r) for r in node.refs()]


TRAIN = {"stage": "train", "step": "supervised"}


def test_carried_models_go_from_pass_to_pass() -> None:
    nodes = graph(
        {
            "rounds": {
                "foreach": {"round": 3, "carry": {"model": "student"}},
                "do": {"model": {**TRAIN, "from": {"model": "model.before", "data": "data.train"}}},
                "result": "model",
            },
            "last": {"stage": "evaluate", "from": ["rounds.last", "data.test"], "metrics": []},
            "all": {"stage": "evaluate", "from": ["rounds", "data.test"], "metrics": []},
        }
    )
    assert refs(nodes["rounds[0].model"])[0] == "student"
    assert refs(nodes["rounds[2].model"])[0] == "rounds[1].model"
    assert refs(nodes["last"])[0] == "rounds[2].model"
    assert refs(nodes["all"])[:3] == [f"rounds[{i}].model" for i in range(3)]


def test_of_a_carried_name_before_is_handed_in_and_after_is_new_in_any_order() -> None:
    nodes = graph(
        {
            "stream": {
                "foreach": {"task": 2, "carry": {"model": "student"}},
                "do": {
                    "after": {"stage": "evaluate", "from": ["model.after", "data.test"]},
                    "model": {**TRAIN, "from": {"model": "model.before", "data": "data.train"}},
                    "before": {"stage": "evaluate", "from": ["model.before", "data.test"]},
                },
                "result": {"model": "model", "scores": "after"},
            },
            "end": {"stage": "evaluate", "from": ["stream.last.model", "stream.scores"]},
        }
    )
    assert refs(nodes["stream[1].before"])[0] == "stream[0].model"
    assert refs(nodes["stream[1].after"])[0] == "stream[1].model"
    assert refs(nodes["end"]) == ["stream[1].model", "stream[0].after", "stream[1].after"]


def test_loops_nest_and_zip() -> None:
    nodes = graph(
        {
            "fresh": {
                "foreach": {"client": 2},
                "do": {"model": {"stage": "initialize", "by": "random_weights", "from": ["student"]}},
            },
            "federation": {
                "foreach": {"round": 2, "carry": {"models": "fresh"}},
                "do": {
                    "answers": {"stage": "predict", "from": ["models.before", "data.train"]},
                    "models": {
                        "foreach": {"model": "models.before", "target": "answers"},
                        "do": {"tuned": {**TRAIN, "from": {"model": "model", "target": "target"}}},
                    },
                },
                "result": "models",
            },
        }
    )
    assert refs(nodes["federation[0].answers"]) == ["fresh[0].model", "fresh[1].model", "data.train"]
    assert refs(nodes["federation[1].models[1].tuned"]) == ["federation[0].models[1].tuned", "federation[1].answers.1"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"a": {"stge": "train"}}, "no verb: one of .* \\(did you mean 'stage'\\?\\)"),
        ({"a": {"stage": "train", "op": "kl"}}, "one verb, this has stage and op"),
        ({"a": {"stage": "train", "from": [""]}}, "is not a reference"),
        ({"data": {"stage": "train"}}, "already the name of a group"),
        ({"a": {"foreach": {"i": [1, 2], "j": 3}, "do": {"b": TRAIN}}}, "of one length"),
        ({"a": {"foreach": {"i": 2, "carry": {"m": "student"}}, "do": {"b": TRAIN}}}, "carries 'm', but no node"),
        (
            {"a": {"foreach": {"i": 2, "carry": {"m": "student"}}, "do": {"m": {**TRAIN, "from": {"model": "m"}}}}},
            "m.before is the value handed in, m.after the new one",
        ),
        ({}, "has no graph"),
    ],
)
def test_what_is_no_graph_is_refused(body, message) -> None:
    with pytest.raises(InputError, match=message):
        graph(body)


GRAPH = {
    "data": {"data": "digits"},
    "graph": {
        "parts": {"stage": "partition", "by": "by_class", "from": ["data.train"], "groups": 2},
        "all": {"stage": "mix", "by": "concatenate_rows", "from": [["parts"]]},
        "stream": {
            "foreach": {"part": "parts", "carry": {"kept": "data.test"}},
            "do": {"kept": {"stage": "select", "by": "excluding_classes", "from": ["kept.before", "part"]}},
        },
        "named": {
            "foreach": {"part": {"low": "parts.0", "high": "parts.1"}},
            "do": {"counts": {"stage": "reduce", "by": "class_counts", "from": ["part"]}},
        },
        "high": {"op": "detach", "from": ["named.high"]},
        "second": {"stage": "reduce", "by": "class_counts", "from": ["parts.1"]},
    },
}


def test_loops_run_over_parts_and_lists_hold_them_all() -> None:
    nodes = parse_graph(GRAPH)
    assert nodes["all"].inputs == [[Ref("parts", ("0",)), Ref("parts", ("1",))]]
    assert nodes["stream[0].kept"].inputs == [Ref("data", ("test",)), Ref("parts", ("0",))]
    assert nodes["stream[1].kept"].inputs == [Ref("stream[0].kept"), Ref("parts", ("1",))]
    assert nodes["named[high].counts"].inputs == [Ref("parts", ("1",))]
    assert nodes["high"].inputs == [Ref("named[high].counts")]
    assert nodes["second"].inputs == [Ref("parts", ("1",))]
