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


def planned(nodes: dict, updates: dict, models: dict, batch_size: int = 4):
    step = parse_step({"nodes": nodes, "updates": updates}, key="step")
    columns = {"data": {"image": Column((1, 8, 8)), "label": Column((), torch.int64)}}
    sizes = {"num_classes": 10, "in_channels": 1, "image_size": 8, "in_features": 64}
    return trace(step, specs=models, tensors={}, columns=columns, batch_size=batch_size, sizes=sizes)


def supervised(**call) -> dict:
    return {
        "s": {"call": "student", "from": ["batch.image"], **call},
        "ce": {"op": "cross_entropy", "from": ["s.logits", "batch.label"]},
    }


DESCENT = {"optimizer": {"optimizer": "sgd", "lr": 0.1}}
NORMALIZED = {"student": {"model": "log_variance_head", "in_features": 64, "out_features": 10}}


def test_the_mode_of_a_call_is_planned_as_it_runs() -> None:
    """Statistics of a batch of one row do not exist; running ones do."""
    main = {"main": {"minimize": {"ce": 1.0}, "train": ["student"], **DESCENT}}
    nodes = {"rows": {"op": "flatten", "from": ["batch.image"]}, **supervised()}
    for mode in ("eval", "train"):
        nodes["s"] = {"call": "student", "from": ["rows"], "mode": mode}
        if mode == "train":
            with pytest.raises(InputError, match=r"'s' \(call student\) does not fit its inputs"):
                planned(nodes, main, NORMALIZED, batch_size=1)
        else:
            planned(nodes, main, NORMALIZED, batch_size=1)


WEIGHED = {
    **supervised(),
    "w": {"call": "weigher", "from": ["batch.image"]},
    "each": {"op": "cross_entropy", "from": ["s.logits", "batch.label"], "reduction": "none"},
    "flat": {"op": "cross_entropy", "from": ["s.logits", "batch.label"], "reduction": "none", "label_smoothing": 0.9},
    "mixed": {"op": "mix_losses", "from": ["each", "flat", "w"]},
}
TWO = {
    "student": {"model": "mlp", "hidden": [4]},
    "weigher": {"model": "mlp", "hidden": [4], "final": "sigmoid", "squeeze": True, "num_classes": 1},
}


def looking_through(inner: str, **options) -> dict:
    outer = {"minimize": {"ce": 1.0}, "train": ["weigher"], "through": {"update": "inner", **options}, **DESCENT}
    return {"outer": outer, "inner": {"minimize": {inner: 1.0}, "train": ["student"], **DESCENT}}


def test_gradients_through_virtual_steps_are_planned() -> None:
    once = planned(WEIGHED, looking_through("mixed"), TWO)
    twice = planned(WEIGHED, looking_through("mixed", steps=2), TWO)
    assert twice.flops > once.flops


@pytest.mark.parametrize(("inner", "options"), [("ce", {}), ("mixed", {"order": "first"})])
def test_a_virtual_step_that_hands_no_gradient_on_is_found_when_planning(inner, options) -> None:
    """The inner loss does not depend on the weigher, or the way through it is cut."""
    with pytest.raises(InputError, match="no gradient reaches weigher|nothing that this update trains enters"):
        planned(WEIGHED, looking_through(inner, **options), TWO)


def test_a_virtual_step_of_an_update_that_never_runs_needs_a_rate() -> None:
    updates = looking_through("mixed")
    updates["inner"]["every"] = 0
    with pytest.raises(InputError, match="through needs lr"):
        planned(WEIGHED, updates, TWO)
    updates["outer"]["through"]["lr"] = 0.1
    planned(WEIGHED, updates, TWO)


def test_what_lies_behind_the_end_of_a_call_costs_nothing() -> None:
    models = {"student": {"model": "cnn", "channels": [4, 6]}}

    def cost(call: dict) -> int:
        nodes = {"m": {"call": "student", "from": ["batch.image"], **call}}
        nodes["size"] = {"op": "mean_squared_error", "from": ["m.output", "m.output"]}
        return planned(nodes, {"main": {"minimize": {"size": 1.0}, "train": ["student"], **DESCENT}}, models).flops

    short, whole = cost({"until": "map_1"}), cost({})
    assert 0 < short < whole


def test_an_update_after_another_plans_again_what_depends_on_the_model_that_moved() -> None:
    first = {"minimize": {"ce": 1.0}, "train": ["student"], **DESCENT}
    models = {"student": {"model": "mlp", "hidden": [4]}}
    one = planned(supervised(), {"first": first}, models)
    both = planned(supervised(), {"first": first, "second": first}, models)
    assert both.flops == 2 * one.flops
