"""``list`` and ``runs``: what is there and what was done."""

from __future__ import annotations

import json

from support.recipes import QUICK


def test_list_methods_says_what_each_needs(kdrun) -> None:
    answer = kdrun("list", "methods", "unlearning")
    assert "unlearning/low_rank_forgetting" in answer.out
    assert "data.forget, " in answer.out
    assert "use: " in answer.out
    assert "distillation/kd" not in answer.out


def test_list_and_runs(kdrun) -> None:
    assert "1503.02531" in kdrun("list").out
    assert "kl_divergence" in kdrun("list", "parts", "--kind", "op", "hinton").out
    assert "student=cifar/resnet8x4" in kdrun("list", "groups", "resnet8x4").out
    assert "no runs" in kdrun("runs").out
    kdrun("run", "kd", *QUICK)
    assert "test.accuracy" in kdrun("runs", "--sort", "test.accuracy").out
    slip = kdrun("runs", "--sort", "test.acuracy")
    assert slip.code == 2
    assert "no run measured 'test.acuracy' (did you mean 'test.accuracy'?)" in slip.err
    assert json.loads(kdrun("runs", "--json").out)["recipe"] == "distillation/kd"


def test_a_recipe_that_cannot_be_read_spoils_no_list(kdrun, tmp_path) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/broken.yaml").write_text("a: b: c\n")
    answer = kdrun("list")
    assert "1503.02531" in answer.out
    assert "broken" in answer.out
    assert "not plain YAML" in answer.out


def test_runs_are_sorted_best_first(kdrun, tmp_path) -> None:
    def record(name: str, loss: float, goal: str) -> None:
        folder = tmp_path / "runs" / "mine" / name
        folder.mkdir(parents=True)
        objective = {"metric": "valid.nll", "goal": goal}
        content = {"recipe": "mine", "seed": 0, "overrides": [], "metrics": {"valid.nll": loss}, "objective": objective}
        (folder / "result.json").write_text(json.dumps(content))

    def order() -> list[str]:
        lines = kdrun("runs", "--sort", "valid.nll", "--json").out.splitlines()
        return [json.loads(line)["folder"][-1] for line in lines]

    record("a", 0.5, "maximize")
    record("b", 0.7, "maximize")
    assert order() == ["b", "a"]
    record("c", 0.6, "minimize")
    assert order() == ["a", "c", "b"]
