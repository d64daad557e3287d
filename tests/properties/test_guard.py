"""The guard: in whatever layers and words a stranger says something, it is never taken for the user's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdrun.config.compose import Composer
from kdrun.config.writing import yaml_text
from kdrun.errors import InputError
from support.recipes import NO_TRANSFER

FEWER = settings(max_examples=max(settings().max_examples // 3, 8))
"""Where an example composes files."""

LAYERS = ("recipe", "scale", "arm", "liked", "arm in scale", "option")
"""Where a stranger may say something; ``liked``: in an arm that the chosen one is like; ``option``: in a file of a group."""

KEYS = {"store": "elsewhere", "runs": "elsewhere", "plugins": ["evil.py"]}
SAID = st.dictionaries(st.sampled_from(LAYERS), st.sampled_from(list(KEYS)), max_size=2)
USERS = st.fixed_dictionaries({}, optional={"store": st.just("mine"), "runs": st.just("here"), "epochs": st.just(2)})
HARMLESS = st.sets(st.sampled_from(LAYERS), max_size=3)


@pytest.fixture
def place(tmp_path_factory, monkeypatch) -> Path:
    """A working folder with what must not be imported, beside a folder that is nobody's business."""
    folder = tmp_path_factory.mktemp("guard")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("KDRUN_READ", raising=False)
    (folder / "evil.py").write_text("raise SystemExit('imported')\n")
    return folder


def put(tree: dict, path: str, value: object, dotted: bool) -> None:
    """A setting as a mapping in a mapping, or under a dotted name."""
    *way, last = [path] if dotted else path.split(".")
    for piece in way:
        tree = tree.setdefault(piece, {})
    tree[last] = value


def recipe(place: Path, said: dict[str, dict[str, object]], dotted: bool) -> str:
    """A stranger's recipe, with its arm ``a``, its scale ``s`` and an option ``mine`` of the group of data."""
    written: dict[str, dict] = {layer: {} for layer in LAYERS}
    for layer, settings_ in said.items():
        for path, value in settings_.items():
            put(written[layer], path, value, dotted)
    content = {
        **written["recipe"],
        "arms": {"b": written["liked"], "a": {"like": "b", **written["arm"]}},
        "scales": {"s": {**written["scale"], "arms": {"a": written["arm in scale"]}}},
    }
    (place / "conf" / "data").mkdir(parents=True, exist_ok=True)
    option = {"data": {"data": "digits"}, **written["option"]}
    (place / "conf" / "data" / "mine.yaml").write_text("# @package _global_\n" + yaml_text(option))
    (place / "stranger.yaml").write_text(NO_TRANSFER + yaml_text(content))
    return str(place / "stranger.yaml")


def composed(place: Path, said: dict, dotted: bool, user: list[str]) -> dict:
    words = ["data=mine", *user] if "option" in said else user
    return Composer.named(recipe(place, said, dotted), words).compose(arm="a", scale="s").config


@FEWER
@given(SAID, USERS, st.booleans())
def test_what_is_the_users_is_as_the_user_says_or_nothing_is(place, said, user, dotted) -> None:
    words = [f"{name}={value}" for name, value in user.items()]
    layers = {layer: {key: KEYS[key]} for layer, key in said.items()}
    if layers:
        with pytest.raises(InputError) as refused:
            composed(place, layers, dotted, words)
        assert "only the command line may set" in str(refused.value)
        assert str(refused.value).count("\n") == 0
        return
    config = composed(place, layers, dotted, words)
    assert (config["store"], config["runs"]) == (user.get("store"), user.get("runs", "runs"))
    assert config["plugins"] == []


@FEWER
@given(st.sampled_from(LAYERS), HARMLESS, st.booleans(), st.sampled_from(["nothing", "another", "this", "above"]))
def test_a_folder_outside_is_read_where_the_user_names_it_and_nowhere_else(place, layer, others, dotted, user) -> None:
    outside = place.parent / f"{place.name}-outside"
    (outside / "train" / "a").mkdir(parents=True, exist_ok=True)
    said: dict[str, dict[str, object]] = {one: {"epochs": 3} for one in others}
    said.setdefault(layer, {})
    said[layer] = {**said[layer], "data.data": "folder", "data.root": str(outside)}
    if layer == "option":
        said[layer] = {"data.data": "folder", "data.root": str(outside)}
    words = {
        "nothing": [],
        "another": [f"data.root={place / 'own'}"],
        "this": [f"data.root={outside}"],
        "above": [f"data.root={outside.parent}"],
    }[user]
    os.environ.pop("KDRUN_READ", None)
    if layer != "option" and "option" in said:  # the user chose an option, which takes the place of what a recipe says
        assert composed(place, said, dotted, words)["data"]["data"] == "digits"
        return
    if user == "nothing":
        with pytest.raises(InputError, match="lies outside of the working folder"):
            composed(place, said, dotted, words)
        return
    root = composed(place, said, dotted, words)["data"]["root"]
    assert root == words[0].partition("=")[2]


@FEWER
@given(st.sampled_from(LAYERS), st.sampled_from(["${paper_folder}", "${data.where}"]), st.booleans())
def test_a_value_that_is_computed_from_a_strangers_is_a_strangers(place, layer, text, user) -> None:
    outside = place.parent / f"{place.name}-outside"
    said = {layer: {"data.data": "folder", "data.root": text}}
    name = text[2:-1]
    said[layer][name] = str(outside)
    words = ["epochs=2", "seed=3"] if user else []
    with pytest.raises(InputError):
        composed(place, said, False, words)
