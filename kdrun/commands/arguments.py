"""Parsing that the commands share: a recipe, overrides with arm= and scale=, and a few flags."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from kdrun.config.compose import Composer
from kdrun.config.experiment import Experiment, Selection
from kdrun.config.messages import unreadable
from kdrun.errors import InputError

__all__ = ["Parser", "chosen", "parse", "recipe_parser"]


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are ``InputError``."""

    def error(self, message: str) -> None:  # type: ignore[override]
        raise InputError(f"{message}; see {self.prog} --help")


def recipe_parser(command: str, description: str) -> Parser:
    """A parser for ``kdrun COMMAND RECIPE [key=value ...]``."""
    parser = Parser(prog=f"kdrun {command}", description=description)
    parser.add_argument("recipe", help="name of a recipe (kd, distillation/kd) or a YAML file")
    parser.add_argument(
        "overrides", nargs="*", help="key=value, in Hydra's grammar; arm=NAME and scale=NAME choose those of the recipe"
    )
    return parser


def parse(parser: Parser, arguments: Sequence[str]) -> argparse.Namespace:
    """Parse, letting overrides and flags stand in any order; overrides must contain ``=`` or start with ``~``."""
    found = parser.parse_intermixed_args(list(arguments))
    for override in getattr(found, "overrides", []):
        if "=" not in override and not override.startswith("~"):
            raise InputError(unreadable(override))
    return found


def chosen(options: argparse.Namespace) -> tuple[Composer, Selection]:
    """The composer for the recipe with the user's overrides, and what was said of arm, scale and seeds."""
    selection = Selection.of(options.overrides)
    return Composer.named(options.recipe, selection.overrides), selection


def experiment(options: argparse.Namespace) -> Experiment:
    """The experiment that a command line describes."""
    composer, selection = chosen(options)
    return composer.compose(arm=selection.arm, scale=selection.scale)
