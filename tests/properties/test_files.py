"""Files: whatever stands in one, it ends in an experiment or in one line that says what is wrong."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from support.answers import Answers

ROOT = Path(__file__).parents[2]
FOUND = sorted((Path(__file__).parent / "found").glob("*.yaml"))

RECIPES = [
    yaml.safe_load((ROOT / "recipes" / f"{name}.yaml").read_text())
    for name in (
        "distillation/kd",
        "distillation/hard",
        "distillation/kd3",
        "selection/projektor",
        "search/diswot",
        "continual/cuber",
    )
]
SAID = """
defaults graph arms scales claims steps seeds skip results leaderboard objective hydra stage op foreach do from by like metrics step
nodes minimize train evaluate accuracy data.train fit_student student teacher data epochs kd.test.accuracy distillation ${epochs} ${x
"""
WORDS = st.sampled_from([*SAID.split(), "override /protocol", "override /data"])
LEAVES = WORDS | st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | LEAVES, inner, max_size=4),
    max_leaves=12,
)
HEAD = "# @package _global_\n"


@pytest.fixture(scope="module")
def answers(tmp_path_factory) -> Answers:
    return Answers(tmp_path_factory.mktemp("files"), seconds=10, growth=1 << 20)


@given(
    st.binary(max_size=200)
    | st.text(max_size=200)
    .map(
        str.encode,
    )
    .filter(bool)
    | TREES.map(lambda tree: (HEAD + yaml.safe_dump(tree)).encode())
)
def test_any_bytes_are_answered_well(answers, content) -> None:
    assert answers.of(content).fault is None


@settings(max_examples=settings().max_examples // 2)
@given(st.sampled_from(RECIPES), st.data(), TREES)
def test_anything_in_the_place_of_anything_in_a_recipe_is_answered_well(answers, recipe, data, value) -> None:
    place = data.draw(st.sampled_from(list(places(recipe))), label="place")
    content = HEAD + yaml.safe_dump(put(recipe, place, value), sort_keys=False)
    assert answers.of(content.encode()).fault is None


def places(tree: object, way: tuple = ()):
    """Where something stands in a tree, as ways from its top."""
    yield way
    for name, inner in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield from places(inner, (*way, name))


def put(tree, way: tuple, value: object):
    if not way:
        return value
    changed = copy.copy(tree)
    changed[way[0]] = put(tree[way[0]], way[1:], value)
    return changed


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.stem)
def test_what_once_was_answered_badly_is_refused_in_one_line(answers, path) -> None:
    answer = answers.of(path.read_bytes())
    assert answer.fault is None
    assert answer.said
