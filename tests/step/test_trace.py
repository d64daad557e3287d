"""Planning a step: sizes that are found, and what cannot work."""

from __future__ import annotations

import pytest
import torch

from kdrun.data.dataset import Column
from kdrun.errors import InputError
from kdrun.grammar.steps import parse_step
from kdrun.step.trace import trace


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "graph.fit_student.step.nodes.kd.from=[s.logits, batch.label]",
            "does not fit its inputs s.logits \\[64, 10\\], batch.label \\[64\\]",
        ),
        (
            "graph.fit_student.step.nodes.ce.from=[s.logits, batch.lable]",
            "no column 'lable' \\(did you mean 'label'\\?\\)",
        ),
        ("+graph.fit_student.step.nodes.s.taps={feature: head.inputt}", "no module 'head.inputt'"),
        ("+graph.fit_student.step.nodes.kd.reduction=none", "'kd' is no scalar"),
        ("+graph.fit_student.step.train.teacher=true", "no gradient reaches teacher"),
        (
            "graph.fit_student.step.nodes.kd.from=[s.logit, t.logits]",
            "has no field 'logit' \\(did you mean 'logits'\\?\\)",
        ),
    ],
)
def test_planning_finds_what_cannot_work(session, override, message) -> None:
    with pytest.raises(InputError, match=message):
        session("kd", override).plan()


def test_sizes_left_open_are_found_from_what_is_compared(session) -> None:
    ready = session("kd", "transfer=hint_joint")
    found = {s.name: s for s in ready.plan().stages}
    assert found["fit_student"].parameters["adapter"] == 32 * 128 + 2 * 128
    assert found["fit_student"].shapes["adapted"] == [64, 128, 2, 2]


NETWORKS = {"student": {"model": "cnn", "channels": [4, 6]}, "teacher": {"model": "cnn", "channels": [8, 12]}}

CALLS = {
    "s": {"call": "student", "from": ["batch.image"], "taps": {"low": "map_1", "high": "map_2"}},
    "t": {"call": "teacher", "from": ["batch.image"], "taps": {"low": "map_1", "high": "map_2"}, "grad": False},
    "kd": {"op": "kl_divergence", "from": ["s.logits", "t.logits"]},
}


def traced(nodes: dict, minimize: list[str], extra: dict):
    update = {"minimize": dict.fromkeys(["kd", *minimize], 1.0), "train": ["student", *extra], "optimizer": "optimizer"}
    step = parse_step({"nodes": {**CALLS, **nodes}, "updates": {"main": update}}, key="step")
    columns = {"data": {"image": Column((1, 8, 8), torch.float32)}}
    sizes = {"num_classes": 10, "in_channels": 1, "image_size": 8}
    return trace(step, specs=NETWORKS, tensors={}, columns=columns, batch_size=4, sizes=sizes, extra=extra)


def test_sizes_of_a_chain_of_review_levels_are_found() -> None:
    nodes = {
        "deep": {"call": "deep_level", "from": ["s.high"]},
        "shallow": {"call": "shallow_level", "from": ["s.low", "deep.fused"]},
        "deep_loss": {"op": "hierarchical_context_loss", "from": ["deep.feature", "t.high"]},
        "shallow_loss": {"op": "hierarchical_context_loss", "from": ["shallow.feature", "t.low"]},
    }
    extra = {
        "deep_level": {"model": "attention_fusion", "middle_channels": 16, "fuse": False},
        "shallow_level": {"model": "attention_fusion", "middle_channels": 16},
    }
    found = traced(nodes, ["deep_loss", "shallow_loss"], extra)
    assert [found.specs["deep_level"][k] for k in ("in_channels", "out_channels")] == [6, 12]
    assert [found.specs["shallow_level"][k] for k in ("in_channels", "out_channels")] == [4, 8]


def test_sizes_of_a_regressor_and_of_a_translator_to_a_factor_are_found() -> None:
    nodes = {
        "guess": {"call": "regressor", "from": ["s.low"]},
        "nll": {"op": "gaussian_nll", "from": ["guess.mean", "guess.variance", "t.low"]},
        "code": {"call": "paraphraser", "from": ["t.high"]},
        "told": {"call": "translator", "from": ["s.high"]},
        "told_loss": {"op": "factor_transfer_loss", "from": ["told", "code.factor"]},
        "back": {"op": "feature_mse", "from": ["code.reconstruction", "t.high"]},
    }
    extra = {
        name: {"model": model}
        for name, model in (
            ("regressor", "vid_regressor"),
            ("paraphraser", "paraphraser"),
            ("translator", "translator"),
        )
    }
    found = traced(nodes, ["nll", "told_loss", "back"], extra)
    assert [found.specs["regressor"][k] for k in ("in_channels", "out_channels")] == [4, 8]
    assert [found.specs["translator"][k] for k in ("in_channels", "out_channels")] == [6, 6]


def test_a_wrong_wiring_is_told_by_the_node_and_the_shapes() -> None:
    nodes = {"hint": {"op": "feature_mse", "from": ["s.low", "t.low"]}}
    with pytest.raises(InputError, match=r"'hint'.*one shape, got \[4, 4, 8, 8\] and \[4, 8, 8, 8\]"):
        traced(nodes, ["hint"], {})
