"""Layers: the strongest that says something wins, whatever the others say, and copies follow their originals."""

from __future__ import annotations

import copy

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kdrun.config.compose import Composer
from kdrun.grammar.like import expand
from kdrun.grammar.overlay import overlay
from support.recipes import NO_TRANSFER, write_recipe

NAMES = st.sampled_from(["a", "b", "c", "d"])
LEAVES = st.integers() | st.text(max_size=3) | st.none() | st.lists(st.integers(), max_size=2)
TREES = st.fixed_dictionaries(
    {},
    optional={
        "a": LEAVES,
        "b": st.dictionaries(NAMES, LEAVES, max_size=3),
        "c": st.fixed_dictionaries({}, optional={"x": LEAVES, "y": st.dictionaries(NAMES, LEAVES, max_size=2)}),
    },
)
"""Mappings of one shape: a key holds a mapping in all of them, or in none."""

KNOBS = {
    "epochs": st.integers(1, 99),
    "batch_size": st.integers(1, 99),
    "optimizer.lr": st.sampled_from([0.5, 0.25]),
    "fit_student.seed": st.integers(0, 9),
}
SAID = st.fixed_dictionaries({}, optional=KNOBS)
ORDER = ("recipe", "scale", "arm", "arm in scale", "user")
LAYERS = st.fixed_dictionaries(dict.fromkeys(ORDER, SAID))


def over(*layers: dict) -> dict:
    found: dict = {}
    for layer in layers:
        overlay(found, layer)
    return found


@given(TREES, TREES, TREES)
def test_it_does_not_matter_which_layers_are_laid_together_first(first, second, third) -> None:
    assert over(over(first, second), third) == over(first, over(second, third))


@given(TREES, TREES)
def test_a_layer_says_all_that_it_says_and_is_not_changed_by_what_lies_over_it(first, second) -> None:
    before = copy.deepcopy((first, second))
    found = over(first, second)
    assert over(found, second) == found
    found.setdefault("b", {})["new"] = 1
    assert (first, second) == before


def nested(said: dict) -> dict:
    """Dotted settings as the blocks that a recipe writes."""
    found: dict = {}
    for path, value in said.items():
        *way, last = path.replace("fit_student", "graph.fit_student").split(".")
        place = found
        for piece in way:
            place = place.setdefault(piece, {})
        place[last] = value
    return found


def at(config: dict, path: str) -> object:
    for piece in path.replace("fit_student", "graph.fit_student").split("."):
        config = config.get(piece) if isinstance(config, dict) else None
    return config


FEWER = settings(max_examples=settings().max_examples // 6)
"""Where an example composes files."""


@FEWER
@given(LAYERS)
def test_the_strongest_layer_that_says_something_wins_and_the_user_is_the_strongest(tmp_path_factory, layers) -> None:
    recipe = {
        **nested(layers["recipe"]),
        "arms": {"other": {}, "it": layers["arm"]},
        "scales": {"tiny": {**layers["scale"], "arms": {"it": layers["arm in scale"], "other": {"epochs": 100}}}},
    }
    path = write_recipe(tmp_path_factory.mktemp("layers"), yaml.safe_dump(recipe), header=NO_TRANSFER)
    user = [f"{name}={value}" for name, value in layers["user"].items()]
    config = Composer.named(path, user).compose(arm="it", scale="tiny").config
    for name in KNOBS:
        said = [layers[layer][name] for layer in ORDER if name in layers[layer]]
        if said:
            assert at(config, name) == said[-1]


@FEWER
@given(SAID, SAID, SAID)
def test_the_order_of_keys_in_a_file_means_nothing(tmp_path_factory, recipe, arm, scale) -> None:
    content = {**nested(recipe), "arms": {"it": arm}, "scales": {"tiny": scale}}

    def turned(tree: object) -> object:
        return {k: turned(v) for k, v in reversed(tree.items())} if isinstance(tree, dict) else tree

    found = []
    for tree in (content, turned(content)):
        path = write_recipe(tmp_path_factory.mktemp("order"), yaml.safe_dump(tree, sort_keys=False), header=NO_TRANSFER)
        found.append(Composer.named(path).compose(arm="it", scale="tiny").config)
    assert found[0] == found[1]


NODE = {"op": "scale", "from": ["x"]}


@given(TREES, TREES, st.integers(1, 3))
def test_a_copy_follows_its_original_and_keeps_what_it_says_itself(original, own, copies) -> None:
    graph = {"first": {**NODE, **original}}
    for i in range(copies):
        graph[f"copy{i}"] = {"like": "first" if i == 0 else f"copy{i - 1}", **(own if i == 0 else {})}
    found = expand({"graph": copy.deepcopy(graph)})["graph"]
    assert found["first"] == graph["first"]
    for i in range(copies):
        assert found[f"copy{i}"] == over(graph["first"], own)


@given(TREES, TREES, st.randoms())
def test_the_order_in_which_copies_stand_means_nothing(original, own, chance) -> None:
    graph = {"first": {**NODE, **original}, "second": {"like": "first", **own}, "third": {"like": "second"}}
    shuffled = {name: graph[name] for name in chance.sample(list(graph), 3)}
    assert expand({"graph": copy.deepcopy(graph)})["graph"] == expand({"graph": copy.deepcopy(shuffled)})["graph"]
