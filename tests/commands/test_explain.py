"""``kdrun explain``: what it says of parts, methods, protocols and options, and of names that nothing has."""

from __future__ import annotations

import ast

import pytest
import yaml

from kdrun.config.usage import usage
from kdrun.registry import BY_KINDS, Catalog
from kdrun.registry.describe import node_text, signature_text, type_notes


def test_a_part_shows_signature_place_docstring_example_and_users(kdrun) -> None:
    out = kdrun("explain", "op", "kl_divergence").out
    assert out.startswith("op kl_divergence  (kdrun/ops/divergences.py:")
    assert "    temperature: Positive = 1.0,          # a real number above 0\n" in out
    assert Catalog(()).get("op", "kl_divergence").doc in out
    node = out.split("in YAML", 1)[1].split(".yaml)")[0]
    assert "op: kl_divergence" in node
    assert "distillation/kd" in out.split("\nmethods", 1)[1]


def test_a_name_alone_is_enough_where_only_one_thing_has_it(kdrun) -> None:
    assert kdrun("explain", "kl_divergence").out == kdrun("explain", "op", "kl_divergence").out
    assert "model: cnn" in kdrun("explain", "cnn_tiny").out  # one file, served as teacher and as student
    both = kdrun("explain", "constant")
    assert both.code == 2
    assert "kdrun explain op constant, kdrun explain schedule constant" in both.err


@pytest.mark.parametrize(
    ("subject", "said"),
    [
        (
            "transfer distillation/kd",
            ["  transfer: {temperature: 4.0", "reads       data.test", "distillation/attention"],
        ),
        ("transfer relational", ["transfer=distillation/relational", "builds on   distillation/kd"]),
        ("protocol unlearning", ["methods     unlearning/", "unlearning/gradient_ascent", "recipes     unlearning/"]),
        ("student cnn_tiny", ["model: cnn", "distillation/kd"]),
        ("data digits", ["fields      train, valid, test", "data=digits  (", "conf/data/digits.yaml)"]),
        ("select top_k", ["stage: select, by: top_k"]),
        ("stage merge", ["merge average_weights", "merge task_arithmetic"]),
        ("model unet", []),
    ],
)
def test_methods_protocols_options_and_stage_parts_are_explained(kdrun, subject, said) -> None:
    answer = kdrun("explain", *subject.split())
    for text in said:
        assert text in answer.out
    assert answer.code == (0 if said else 2)


@pytest.mark.parametrize(
    ("subject", "hint"),
    [
        ("op kl_divergance", "did you mean 'kl_divergence'?"),
        ("kl_divergance", "did you mean 'kl_divergence'?"),
        ("transfer distilation/kd", "did you mean 'distillation/kd'?"),
        ("transfr kd", "did you mean 'transfer'?"),
        ("op", "kdrun explain op NAME"),
        ("zoo", "kdrun show zoo"),
        ("op add sub", "takes a kind and a name"),
    ],
)
def test_what_nothing_is_called_is_an_error_with_the_nearest_spelling(kdrun, subject, hint) -> None:
    answer = kdrun("explain", *subject.split())
    assert answer.code == 2
    assert hint in answer.err


def test_a_plugin_is_explained_with_its_file(kdrun, tmp_path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from torch import Tensor\nfrom kdrun.registry import op\n\n\n@op\n"
        'def halved(value: Tensor, *, times: int = 1) -> Tensor:\n    """Half of it, so many times."""\n'
        "    return value / 2**times\n"
    )
    out = kdrun("explain", "op", "halved", "--plugins", str(file)).out
    assert out.startswith(f"op halved  ({file}:6)")
    assert "Half of it, so many times." in out
    assert "{op: halved, from: [value]}" in out
    assert "nothing that is shipped" in out


def test_every_signature_is_python_with_the_arguments_of_the_part() -> None:
    for part in Catalog(()):
        function = ast.parse(f"def {signature_text(part)}: ...").body[0]
        assert isinstance(function, ast.FunctionDef)
        names = [a.arg for a in [*function.args.args, *([function.args.vararg] if function.args.vararg else [])]]
        assert names == [i.name for i in part.inputs], part.name
        assert [a.arg for a in function.args.kwonlyargs] == list(part.parameters), part.name


def test_every_made_up_node_is_yaml_that_names_the_part() -> None:
    for part in Catalog(()):
        node = yaml.safe_load(node_text(part))
        if part.kind in BY_KINDS:
            assert (node["stage"], node["by"]) == (part.kind, part.name)
        else:
            assert node[part.kind] == part.name


def test_a_recipe_uses_a_part_through_the_methods_that_it_chooses() -> None:
    users = usage()
    direct = {s.name for s in users.of_part("op", "attention_transfer") if s.group == "transfer"}
    assert {"distillation/attention", "counting/structured"} <= direct
    reached = {s.name for s in users.reached(users.of_part("op", "kl_divergence")) if s.group == "recipes"}
    assert "distillation/attention" in reached  # attention builds on kd
    assert "distillation/kd" in reached
    assert "distillation/zoo" in reached  # as an arm
    assert "diffusion/boot" not in reached


def test_notes_say_what_a_range_is() -> None:
    assert type_notes("Positive | None") == "a real number above 0"
    assert type_notes("int") == ""
