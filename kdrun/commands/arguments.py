"""Parsing that the commands share: a recipe, overrides with arm= and scale=, and a few flags."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from kdrun.config.compose import Composer
from kdrun.config.experiment import Experiment, Selection
from kdrun.config.messages import unreadable
from kdrun.errors import InputError

__all__ = ["Parser", "chosen", "count", "parse", "plugins_alone", "recipe_parser", "write_output"]


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


def count(text: str) -> int:
    """A flag's value that is a whole number of at least 1."""
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got '{text}'")
    return number


def write_output(path: str, text: str) -> None:
    """Write a text where the user said. Raises ``InputError`` where that cannot be."""
    try:
        Path(path).expanduser().write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}", key="--output") from None


def experiment(options: argparse.Namespace) -> Experiment:
    """The experiment that a command line describes."""
    composer, selection = chosen(options)
    return composer.compose(arm=selection.arm, scale=selection.scale)


def plugins_alone(overrides: Sequence[str], why: str) -> tuple[str, ...]:
    """The plug-ins that a command line names which takes no other override.

    Those of a run's record are code that came with a folder, and are never read.
    """
    from kdrun.config.layers import parse_text

    found = parse_text(overrides)
    if any(override.path != "plugins" for override in found):
        raise InputError(f"{why}: of overrides it takes plugins=[...] alone")
    values = [value for o in found for value in (o.value if isinstance(o.value, list) else [o.value])]
    return tuple(str(value) for value in values)
