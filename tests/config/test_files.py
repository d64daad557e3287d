"""How a recipe is written, and what is said where one is written wrongly."""

from __future__ import annotations

import pytest

from kdrun.config.compose import Composer
from kdrun.errors import InputError
from support.recipes import NO_TRANSFER, composed, stranger, write_recipe


@pytest.mark.parametrize(
    "body",
    ["graph: {a: &a {like: test}, b: *a}\n", "base: &b {x: 1}\nother: {<<: *b}\n", "merged: {<<: {x: 1}}\n"],
)
def test_anchors_and_merge_keys_are_refused_with_what_to_write_instead(tmp_path, body) -> None:
    with pytest.raises(InputError, match="write 'like: NAME' instead"):
        composed(tmp_path, body)


@pytest.mark.parametrize("name", ["null", "true", "1", "über"])
def test_a_recipe_may_be_called_what_yaml_reads_otherwise(tmp_path, name) -> None:
    path = write_recipe(tmp_path, "epochs: 3\n", NO_TRANSFER, name)
    assert Composer.named(path).base().config["epochs"] == 3


@pytest.mark.parametrize("name", ["a,b", "{a: 1}", "glob(*)", "x y=z", "it's"])
def test_a_file_that_hydra_would_read_as_a_choice_is_refused(tmp_path, name) -> None:
    path = write_recipe(tmp_path, "", NO_TRANSFER, name)
    with pytest.raises(InputError, match="a recipe's name has letters"):
        Composer.named(path)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("epoch: 1\n", "nothing reads 'epoch' \\(did you mean 'epochs'"),
        ("scale: {smoke: {epochs: 1}}\n", "nothing reads 'scale' \\(did you mean 'scales'"),
        ("optimiser: {lr: 1.0}\n", "nothing reads 'optimiser' \\(did you mean 'optimizer'"),
        ("arms: [kd]\n", "arms are a mapping from names"),
        ("arms: {a: {like: 3}}\n", "like names an arm or lists some"),
        ("arms: {1: {}, a: {}}\n", "arms: a name is text, got 1"),
        ("skip: test\n", "skip lists nodes"),
    ],
)
def test_slips_at_the_top_of_a_recipe_are_told(tmp_path, body, message) -> None:
    with pytest.raises(InputError, match=message):
        composed(tmp_path, body, arm="a" if "a:" in body else None)
    assert composed(tmp_path, "mine: 3\nepochs: ${mine}\n")["epochs"] == 3


def test_a_recipe_needs_no_header_and_may_lie_under_recipes(tmp_path, monkeypatch) -> None:
    (tmp_path / "recipes/own").mkdir(parents=True)
    path = tmp_path / "recipes/own/one.yaml"
    path.write_text("# a comment first\ndefaults: [{override /protocol: distillation}]\nepochs: 3\narms: {a: {}}\n")
    monkeypatch.chdir(tmp_path)
    for name in ("own/one", str(path), "recipes/own/one.yaml"):
        found = Composer.named(name).compose(arm="a")
        assert (found.recipe, found.config["epochs"]) == ("own/one", 3)


def test_errors_name_file_and_line(tmp_path, kdrun) -> None:
    answer = kdrun("check", stranger(tmp_path, "graph:\n  test:\n    stage: evaluate\n    metrics: [acuracy]\n"))
    assert answer.err.startswith("kdrun: stranger.yaml:6: graph.test.metrics.0.metric:")
