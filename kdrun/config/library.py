"""The files behind an experiment: Hydra's defaults list says which, in which order and under which package."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kdrun.config.files import ConfigFile, read
from kdrun.config.guard import checked_option
from kdrun.config.hydra_state import own_hydra
from kdrun.config.messages import hydra_errors
from kdrun.config.paths import RecipeFile, conf_dir, files_of, group_folders, one_piece, search_path, with_folders
from kdrun.errors import InputError

__all__ = ["Library", "choosing", "search_path_of"]

Choices = tuple[tuple[str, str | None], ...]
Added = tuple[tuple[str, tuple[str, ...]], ...]


def search_path_of(recipe: RecipeFile | None) -> Any:
    """Hydra's search path: its own configs, the working folder's groups, the shipped ones, the recipes."""
    from hydra._internal.utils import create_config_search_path

    from kdrun.config.sources import register_sources

    register_sources()
    path = create_config_search_path(None)
    schema = path.get_path().pop()
    for provider, entry in search_path(recipe):
        path.append(provider, entry)
    path.get_path().append(schema)
    return path


def choosing(recipe: RecipeFile, choices: Mapping[str, str | None]) -> list[str]:
    """Overrides for Hydra that choose a recipe and options of groups, or none of a group."""
    options = [f"~{group}" if o is None else f"{group}='{one_piece(o)}'" for group, o in choices.items()]
    return [f"recipes='{recipe.name}'", *options]


class Library:
    """Groups and recipes as they are on disk, read once."""

    def __init__(self, recipe: RecipeFile) -> None:
        self.recipe = recipe
        self._known: dict[tuple[Choices, Added], list[tuple[Path, str]]] = {}

    @functools.cached_property
    def _repository(self) -> Any:
        from hydra._internal.config_repository import CachingConfigRepository, ConfigRepository

        return CachingConfigRepository(ConfigRepository(config_search_path=search_path_of(self.recipe)))

    def files(
        self, choices: Mapping[str, str | None], added: Mapping[str, tuple[str, ...]]
    ) -> list[tuple[ConfigFile, str]]:
        """The files that take part, weakest first, each with the package that its content lands in ('' for the top).

        ``choices`` are options of groups that the defaults lists name, ``added`` those of others. Raises ``InputError``.
        """
        asked = tuple(choices.items()), tuple(added.items())
        if asked not in self._known:
            self._known[asked] = self._listed(*asked)
        return [(read(path), package) for path, package in self._known[asked]]

    def _listed(self, choices: Choices, added: Added) -> list[tuple[Path, str]]:
        from hydra._internal.defaults_list import create_defaults_list
        from hydra.core.override_parser.overrides_parser import OverridesParser

        texts = choosing(self.recipe, dict(choices))
        quoted = {group: ",".join(f"'{one_piece(option)}'" for option in options) for group, options in added}
        texts += [f"+{group}=[{options}]" for group, options in quoted.items()]
        with own_hydra(), hydra_errors(), _without_circles(texts):
            found = create_defaults_list(
                repo=self._repository,
                config_name="config",
                overrides_list=OverridesParser.create().parse_overrides(texts),
                prepend_hydra=True,
                skip_missing=False,
            )
        rows = []
        for default in found.defaults:
            path = checked_option(with_folders(str(default.config_path)))
            if not path.startswith("hydra/"):
                rows.append((self._file(path), self._package(path, default.package)))
        return rows

    def _package(self, path: str, package: str | None) -> str:
        """Where a file's content lands: at the top, or under its own group's name. Raises ``InputError`` for any other place."""
        pieces = [piece for piece in (package or "").split(".") if piece not in ("", "_global_")]
        group = path.partition("/")[0]
        if pieces and pieces[0] != group:
            raise InputError(
                f"'# @package {package}' in {path}.yaml: an option lands in its own group '{group}', or at the top by _global_"
            )
        return ".".join(pieces)

    def _file(self, name: str) -> Path:
        if name == f"recipes/{self.recipe.name}":
            return self.recipe.path
        for folder in group_folders() if "/" in name else [conf_dir()]:
            for place in files_of(name):
                path = folder / f"{place}.yaml"
                if path.is_file():
                    return path
        raise InputError(f"there is no file {name}.yaml among the groups")


@contextlib.contextmanager
def _without_circles(texts: Sequence[str]) -> Iterator[None]:
    """Hydra follows defaults lists that name each other for ever."""
    try:
        yield
    except RecursionError:
        raise InputError(
            f"of {', '.join(texts)} some defaults list names itself, or another one that names it"
        ) from None
