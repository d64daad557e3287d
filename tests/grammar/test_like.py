"""``like``: copies that overrides of the original reach."""

from __future__ import annotations

import pytest

from kdrun.config.compose import Composer
from kdrun.errors import InputError
from kdrun.grammar.like import expand
from support.recipes import composed, stranger


def test_like_reaches_overrides_of_the_original_and_merges_deeply(tmp_path) -> None:
    body = "graph: {again: {like: fit_student, from: {data: data.valid}, step: {minimize: {ce: 2.0}}}, more: {like: test, from: {model: again}}}\n"
    config = composed(tmp_path, body, "fit_student.epochs=3", "fit_student.step.optimizer=null")
    again = config["graph"]["again"]
    assert again["epochs"] == 3
    assert again["from"] == {"student": "student", "data": "data.valid", "optimizer": "optimizer"}
    assert again["step"]["minimize"] == {"ce": 2.0}
    assert config["graph"]["more"] == {**config["graph"]["test"], "from": {"model": "again", "data": "data.test"}}


def test_like_looks_outwards_and_copied_nodes_are_neighbours(tmp_path) -> None:
    body = (
        "graph:\n  one: {foreach: {x: 2}, do: {test: {like: test, metrics: [nll]}, seen: {like: test}}}\n"
        "  two: {like: one, do: {more: {like: seen, metrics: [accuracy]}}}\n  skip_me: {like: valid, stage: evaluate}\n"
        "arms: {a: {skip_me: {op: constant, shape: [1]}}}\n"
    )
    graph = composed(tmp_path, body, arm="a")["graph"]
    assert graph["one"]["do"]["seen"]["metrics"] == ["nll"]
    assert graph["two"]["do"]["more"] == {**graph["test"], "metrics": ["accuracy"]}
    assert graph["skip_me"] == {"op": "constant", "shape": [1]}, "a part of its own takes the place of a copy"


def test_an_arm_that_several_arms_are_like_is_laid_once(tmp_path) -> None:
    body = "arms: {base: {epochs: 1}, p: {like: base, epochs: 5}, q: {like: base, batch_size: 8}, x: {like: [p, q]}}\n"
    config = composed(tmp_path, body, arm="x")
    assert (config["epochs"], config["batch_size"]) == (5, 8)


def test_copies_of_copies_are_counted_before_they_are_made() -> None:
    steps = {"s0": {"nodes": {"a": {"op": "add"}, "b": {"op": "add"}}}}
    for i in range(60):
        steps[f"s{i + 1}"] = {"nodes": {"x": {"like": f"s{i}"}, "y": {"like": f"s{i}"}}}
    with pytest.raises(InputError, match="entries that like copies are more than 200000"):
        expand({"graph": {}, **steps})


def test_arms_that_are_like_two_others_each_are_laid_once(tmp_path) -> None:
    lines = "".join(f"  a{i + 1}: {{like: [a{i}, b{i}]}}\n  b{i + 1}: {{like: [a{i}, b{i}]}}\n" for i in range(40))
    path = stranger(tmp_path, f"arms:\n  a0: {{epochs: 7}}\n  b0: {{}}\n{lines}")
    assert Composer.named(str(path)).compose(arm="a40").config["epochs"] == 7


def test_arms_in_a_circle_are_named(tmp_path) -> None:
    path = stranger(tmp_path, "arms: {a: {like: b}, b: {like: c}, c: {like: [b]}}\n")
    with pytest.raises(InputError, match="these are like each other: b -> c -> b"):
        Composer.named(str(path)).compose(arm="a")
