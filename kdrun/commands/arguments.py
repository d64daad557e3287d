"""Parsing that the commands share: a recipe, overrides and a few flags."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from kdrun.errors import InputError

__all__ = ["Parser", "recipe_parser"]


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are ``InputError``."""

    def error(self, message: str) -> None:  # type: ignore[override]
        raise InputError(f"{message}; see {self.prog} --help")


def recipe_parser(command: str, description: str) -> Parser:
    """A parser for ``kdrun COMMAND RECIPE [key=value ...]``."""
    parser = Parser(prog=f"kdrun {command}", description=description)
    parser.add_argument("recipe", help="name of a recipe (kd, distillation/kd) or a YAML file")
    parser.add_argument("overrides", nargs="*", help="key=value, in Hydra's grammar")
    return parser


def parse(parser: Parser, arguments: Sequence[str]) -> argparse.Namespace:
    """Parse, letting overrides and flags stand in any order; overrides must contain ``=`` or start with ``~``."""
    found = parser.parse_intermixed_args(list(arguments))
    for override in getattr(found, "overrides", []):
        if "=" not in override and not override.startswith("~"):
            raise InputError(f"'{override}' is no override: write key=value")
    return found


def take(overrides: Sequence[str], name: str) -> tuple[str | None, list[str]]:
    """Split ``name=value`` off a list of overrides: the value (or None) and the rest."""
    value = next((o.split("=", 1)[1] for o in overrides if o.startswith(f"{name}=")), None)
    return value, [o for o in overrides if not o.startswith(f"{name}=")]
