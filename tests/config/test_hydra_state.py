"""Runs in one process meet nothing of each other's, and leave what a program has of Hydra and OmegaConf as it was."""

from __future__ import annotations

import logging
import os
import sys
import threading

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from kdrun.config.compose import Composer
from kdrun.config.hydra_state import is_hydra_13
from kdrun.errors import InputError
from support.recipes import QUICK


@pytest.fixture
def program(tmp_path):
    """A program with a configuration of its own under Hydra, and resolvers of its own; ``mul`` is one of kdrun's names, too."""
    folder = tmp_path / "of_the_program"
    folder.mkdir()
    (folder / "mine.yaml").write_text("value: 1\nsaid: ${shout:hello}\nproduct: ${mul:2,3}\nhome: ${oc.env:HOME}\n")
    OmegaConf.register_new_resolver("shout", str.upper)
    OmegaConf.register_new_resolver("mul", lambda a, b: f"{a} times {b}")
    with initialize_config_dir(str(folder), **({"version_base": "1.2"} if is_hydra_13() else {})):
        yield lambda: OmegaConf.to_container(compose("mine"), resolve=True)
    OmegaConf.clear_resolver("shout")
    OmegaConf.clear_resolver("mul")


def test_two_runs_of_different_recipes_leave_a_programs_hydra_as_it_was(kdrun, program, monkeypatch) -> None:
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    expected = {"value": 1, "said": "HELLO", "product": "2 times 3", "home": os.environ["HOME"]}
    assert program() == expected
    loader, arguments = GlobalHydra.instance().hydra, list(sys.argv)
    for command in (
        ("run", "kd", *QUICK),
        ("run", "continual/cuber", "--cfg", "job"),
        ("run", "kd", "teacher=nothing"),
    ):
        kdrun(*command)
        assert program() == expected
        assert GlobalHydra.instance().hydra is loader
        assert (sys.argv, logging.raiseExceptions) == (arguments, True)
        assert "HYDRA_FULL_ERROR" not in os.environ


def test_a_recipe_reaches_no_resolver_of_the_program(program, tmp_path) -> None:
    path = tmp_path / "stranger.yaml"
    header = "# @package _global_\ndefaults: [{override /transfer: distillation/none}]\n"
    path.write_text(header + "epochs: ${mul:3,4}\n")
    assert Composer.named(str(path)).base().config["epochs"] == 12
    path.write_text(header + "epochs: ${shout:x}\n")
    with pytest.raises(InputError, match="shout"):
        Composer.named(str(path)).base()
    assert program()["said"] == "HELLO"


def test_threads_that_compose_at_once_take_turns(program) -> None:
    found = {}

    def composed(recipe: str) -> None:
        found[recipe] = Composer.named(recipe).base().config["graph"]

    recipes = ("kd", "loku", "cuber", "skt")
    threads = [threading.Thread(target=composed, args=(recipe,)) for recipe in recipes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {recipe: Composer.named(recipe).base().config["graph"] for recipe in recipes}
    assert program()["said"] == "HELLO"
