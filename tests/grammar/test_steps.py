"""Steps: named ones as a base, a single update, nodes taken away."""

from __future__ import annotations

import pytest

from kdrun.errors import InputError
from kdrun.graph.check import check
from support.recipes import composed, write_recipe


def test_a_step_with_words_of_its_own_builds_on_the_named_one_beneath(tmp_path) -> None:
    body = (
        "graph: {fit_teacher: {step: {nodes: {ce: {label_smoothing: 0.1}}}},\n"
        "  again: {like: more, step: {minimize: {ce: 2.0}}}, more: {like: fit_teacher, step: {like: supervised}}}\n"
        "results: [fit_teacher, again]\n"
    )
    nodes = check(composed(tmp_path, body)).nodes
    step = nodes["fit_teacher"].params["step"]
    assert (set(step["nodes"]), step["nodes"]["ce"]["label_smoothing"]) == ({"m", "ce"}, 0.1)
    assert nodes["again"].params["step"]["updates"]["main"]["minimize"] == {"ce": 2.0}


def test_a_step_with_one_update_needs_no_updates_and_both_are_refused(tmp_path) -> None:
    step = check(composed(tmp_path, "")).nodes["fit_student"].params["step"]
    assert step["updates"] == {"main": {"minimize": {"ce": 1.0}, "train": {"student": True}, "optimizer": "optimizer"}}
    with pytest.raises(InputError, match="'minimize' belongs to an update"):
        check(composed(tmp_path, "graph: {fit_student: {step: {updates: {other: {minimize: {ce: 1.0}}}}}}\n"))


def test_a_rate_may_be_a_factor_of_the_optimizers(tmp_path) -> None:
    body = "optimizer: {lr: 0.02}\ngraph: {fit_student: {step: {groups: {student.head: {lr_factor: 0.5}}}}}\n"
    step = check(composed(tmp_path, body)).nodes["fit_student"].params["step"]
    assert step["updates"]["main"]["groups"] == {"student.head": {"lr": 0.01}}
    with pytest.raises(InputError, match="a rate or a factor, not both"):
        check(composed(tmp_path, body, "fit_student.step.groups={student.head: {lr: 1.0}}"))


def test_a_null_takes_inherited_nodes_away(session, tmp_path) -> None:
    header = "# @package _global_\ndefaults: [{override /transfer: distillation/kd}]\n"
    body = "objective: null\ngraph: {valid: null, teacher_test: null, fit_student: {step: {nodes: {kd: null, t: null}, minimize: {kd: null}}}}\n"
    graph = session(write_recipe(tmp_path, body, header)).graph
    assert "valid" not in graph.nodes
    assert set(graph.nodes["fit_student"].params["step"]["nodes"]) == {"s", "ce"}
