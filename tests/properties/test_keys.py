"""Keys: what means the same has one key, however it is written; what matters changes the keys of all that reads it, and of nothing else."""

from __future__ import annotations

import copy

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kdrun.config.compose import Composer
from kdrun.graph.check import check
from kdrun.graph.keys import Keys
from support.recipes import write_recipe

SAID = {
    "defaults": [{"override /transfer": "distillation/kd"}],
    "epochs": 3,
    "batch_size": 32,
    "seed": 4,
    "optimizer": {"lr": 0.05, "momentum": 0.5},
    "data": {"limit": 64},
    "transfer": {"temperature": 2.0, "weight": 0.5},
    "graph": {"fit_student": {"epochs": 2}, "test": {"metrics": ["accuracy", "nll"]}},
}
"""What a recipe says; each value is one that matters."""

STUDENT, TEACHER = {"fit_student", "valid", "test"}, {"fit_teacher", "teacher_test"}

OTHER = {
    ("epochs",): (5, TEACHER | STUDENT),  # the student has its own, and reads the teacher
    ("batch_size",): (16, TEACHER | STUDENT),
    ("seed",): (5, TEACHER | STUDENT),
    ("optimizer", "lr"): (0.06, TEACHER | STUDENT),
    ("optimizer", "momentum"): (0.75, TEACHER | STUDENT),
    ("data", "limit"): (65, TEACHER | STUDENT),
    ("transfer", "temperature"): (3.0, STUDENT),
    ("transfer", "weight"): (0.25, STUDENT),
    ("graph", "fit_student", "epochs"): (1, STUDENT),
    ("graph", "test", "metrics"): (["nll", "accuracy"], {"test"}),
}
"""By the place of a value: another one, and the stages whose results it changes."""

SILENT = {
    "notes": ["a note"],
    "paper": {"title": "T", "arxiv": "0000.00000", "year": 2020, "family": "distillation"},
    "arms": {"a": {"epochs": 9}, "b": {}},
    "scales": {"smoke": {"epochs": 1}},
    "seeds": 7,
    "looked_at": ["1-5"],
    "checkpoint_seconds": 5,
    "hardware": {"workers": 0},
}
"""What decides no result of the recipe as it stands."""

FEWER = settings(max_examples=max(settings().max_examples // 3, 8))
"""Where an example composes files."""


def keys_of(folder, text: str, *overrides: str) -> dict[str, str]:
    """The key of each stage."""
    config = Composer.named(write_recipe(folder, text, header="# @package _global_\n"), overrides).compose().config
    graph = check(config)
    keys = Keys(graph, seed=config["seed"], hardware=config["hardware"])
    return {node.name: keys[node.name] for node in graph.stages()}


def dumped(tree: object, **style: object) -> str:
    return yaml.safe_dump(tree, sort_keys=False, **style)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(scope="module")
def plain(folder) -> dict[str, str]:
    found = keys_of(folder, dumped(SAID))
    assert set(found) >= STUDENT
    return found


def turned(tree: object, chance) -> object:
    """The same with the keys of every mapping in another order, and some ways written with dots."""
    if not isinstance(tree, dict):
        return tree
    found = {}
    for name in chance.sample(list(tree), len(tree)):
        value = turned(tree[name], chance)
        if isinstance(value, dict) and len(value) == 1 and name != "graph" and chance.random() < 0.5:
            ((inner, leaf),) = value.items()
            found[f"{name}.{inner}"] = leaf
        else:
            found[name] = value
    return found


@FEWER
@given(
    st.randoms(use_true_random=False),
    st.sampled_from([{"default_flow_style": True}, {"default_flow_style": False}, {"indent": 7}, {"width": 40}]),
    st.sets(st.sampled_from(list(SILENT))),
    st.sampled_from([("0.05", "5.0e-2"), ("0.05", ".05"), ("0.05", "0.050"), ("epochs: 3", "epochs: 0x3"), ("", "")]),
)
def test_the_same_has_the_same_keys_however_it_is_written(folder, plain, chance, style, silent, spelled) -> None:
    tree = turned(copy.deepcopy(SAID), chance)
    tree.update({name: SILENT[name] for name in silent})
    text = dumped(tree, **style)
    assert keys_of(folder, text.replace(*spelled) if spelled[0] else text) == plain


@FEWER
@given(st.sampled_from(list(OTHER)), st.booleans())
def test_another_value_changes_the_keys_of_what_it_decides_and_no_other(folder, plain, place, by_user) -> None:
    value, decided = OTHER[place]
    tree = copy.deepcopy(SAID)
    if by_user:
        said = (
            ".".join(place).removeprefix("graph.")
            + "="
            + dumped(value, default_flow_style=True).split("\n")[0].replace(" ", "")
        )
        found = keys_of(folder, dumped(tree), said)
    else:
        inner = tree
        for piece in place[:-1]:
            inner = inner[piece]
        inner[place[-1]] = value
        found = keys_of(folder, dumped(tree))
    assert {name for name in plain if found[name] != plain[name]} == decided & set(plain)


@FEWER
@given(st.sets(st.sampled_from(list(OTHER)), min_size=2, max_size=3))
def test_several_changes_never_cancel_each_other(folder, plain, places) -> None:
    tree = copy.deepcopy(SAID)
    for place in places:
        inner = tree
        for piece in place[:-1]:
            inner = inner[piece]
        inner[place[-1]] = OTHER[place][0]
    found = keys_of(folder, dumped(tree))
    decided = set().union(*(OTHER[place][1] for place in places))
    assert {name for name in plain if found[name] != plain[name]} == decided & set(plain)
