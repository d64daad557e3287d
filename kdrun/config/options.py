"""Which options of groups take part in an experiment, and what their files say, merged."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdrun.config.files import read
from kdrun.config.library import Library
from kdrun.config.messages import no_option
from kdrun.config.paths import RecipeFile, conf_dir, group_options
from kdrun.errors import InputError
from kdrun.grammar.overlay import overlay

__all__ = ["Options"]


class Options:
    """The options that one recipe chooses and may choose. Files are merged once for all that choose the same."""

    def __init__(self, recipe: RecipeFile) -> None:
        self.recipe = recipe
        self._library = Library(recipe)
        self._merged: dict[Any, dict[str, Any]] = {}

    @functools.cached_property
    def own(self) -> dict[str, str | None]:
        """The option of each group that the recipe's defaults list chooses, or the primary config's."""
        primary = read(conf_dir() / "config.yaml").content["defaults"]
        chosen: dict[str, str | None] = {}
        for entry in [*primary, *(read(self.recipe.path).content.get("defaults") or [])]:
            for name, option in entry.items() if isinstance(entry, dict) else ():
                chosen[str(name).removeprefix("override").strip().lstrip("/")] = option
        return chosen

    def completed(self, choices: dict[str, str | None]) -> dict[str, str | None]:
        """A method may be named without its protocol. Raises ``InputError`` for a method that the protocol has not."""
        method, protocol = choices.get("transfer"), choices.get("protocol", self.own.get("protocol"))
        if method is None:
            return choices
        options = group_options("transfer")
        if method not in options:
            if f"{protocol}/{method}" not in options:
                raise InputError(no_option("transfer", f"{protocol}/{method}"), key="transfer")
            return {**choices, "transfer": f"{protocol}/{method}"}
        problems = _problems(protocol)
        if problems and method.partition("/")[0] not in problems:
            raise InputError(
                f"'{method}' is a method of another protocol than '{protocol}'; kdrun list methods {protocol} shows its own",
                key="transfer",
            )
        return choices

    def sources(
        self, choices: Mapping[str, str | None], added: Mapping[str, tuple[str, ...]]
    ) -> tuple[tuple[Path, str], ...]:
        """The files that take part, weakest first, each with the package that its content lands in."""
        return tuple((file.path, package) for file, package in self._library.files(choices, added))

    def merged(
        self, choices: Mapping[str, str | None], added: Mapping[str, tuple[str, ...]], dropped: frozenset[str]
    ) -> dict[str, Any]:
        """What the files say, one over the other; of the groups ``dropped`` without what the recipe itself says."""
        label = (tuple(choices.items()), tuple(added.items()))
        if label not in self._merged:
            self._merged[label] = self._merge(choices, added, dropped)
        return self._merged[label]

    def _merge(
        self, choices: Mapping[str, str | None], added: Mapping[str, tuple[str, ...]], dropped: frozenset[str]
    ) -> dict[str, Any]:
        config: dict[str, Any] = {}
        for file, package in self._library.files(choices, added):
            own = ("defaults", "hydra") if package else ("defaults", "hydra", "skip")
            content = {k: v for k, v in file.content.items() if k not in own}
            if file.path == self.recipe.path:
                content = {k: v for k, v in content.items() if not _of(k, v, dropped)}
            target = config
            for piece in filter(None, package.split(".")):
                target = target.setdefault(piece, {})
            overlay(target, content)
            if not package and file.content.get("skip"):
                if not isinstance(file.content["skip"], list):
                    raise InputError("skip lists nodes: skip: [name, ...]", key="skip", where=str(file.path))
                config["skip"] = [*config.get("skip", []), *file.content["skip"]]
        return config


def _of(key: Any, value: Any, groups: frozenset[str]) -> bool:
    """Whether an entry of a file says something inside one of the groups, as a mapping or under a dotted name."""
    first, dot, _ = str(key).partition(".")
    return first in groups and (bool(dot) or isinstance(value, Mapping))


def _problems(protocol: str | None) -> list[str]:
    """The protocol and those that it builds on, whose methods are its methods."""
    options = group_options("protocol")
    found: list[str] = []
    todo = [protocol] if protocol in options else []
    while todo:
        name = str(todo.pop())
        if name in found:  # files that build on each other are told of by Hydra
            continue
        found.append(name)
        todo += [d for d in read(options[name]).content.get("defaults") or [] if isinstance(d, str) and d in options]
    return found
