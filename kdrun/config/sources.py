"""What Hydra sees of the groups and recipes: their defaults lists. Their content is read by ``config.files``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigLoadError, ConfigResult

from kdrun.config.files import read
from kdrun.config.guard import checked_defaults, refuse_hydra
from kdrun.config.paths import files_of, groups_in, one_piece, with_folders
from kdrun.errors import InputError

__all__ = ["GroupsSource", "OneRecipe", "RecipesSource", "register_sources"]


class GroupsSource(FileConfigSource):
    """A folder of groups. Hydra composes defaults lists; its own node comes from the shipped primary config alone."""

    @staticmethod
    def scheme() -> str:
        return "groups"

    def is_group(self, config_path: str) -> bool:
        return bool(self._folders(config_path))

    def is_config(self, config_path: str) -> bool:
        """The working folder has options of groups, but no primary config."""
        top = "/" not in config_path.strip("/") and Path(self.path).resolve() != _shipped()
        return not top and self._file(config_path) is not None

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        found: list[str] = []
        folders = self._folders(config_path)
        names = {path.name for folder in folders for path in folder.iterdir()}
        for name in names if config_path.strip("/") else {*names, *groups_in(Path(self.path))}:
            self._list_add_result(found, f"{config_path}/{name}".lstrip("/"), name, results_filter)
        return sorted(found)

    def _folders(self, config_path: str) -> tuple[Path, ...]:
        places = [] if _is_hydras(config_path) else [Path(self.path) / place for place in files_of(config_path)]
        return tuple(place for place in places if place.is_dir())

    def _file(self, config_path: str) -> Path | None:
        """The file of an option, in its own group's folder or in one that groups share."""
        places = (
            []
            if _is_hydras(config_path)
            else [Path(self.path) / place for place in files_of(self._normalize_file_name(with_folders(config_path)))]
        )
        return next((place for place in places if place.is_file()), None)

    def load_config(self, config_path: str) -> ConfigResult:
        path = self._file(config_path)
        if path is None:
            raise ConfigLoadError(f"Config not found : {config_path}")
        from omegaconf import OmegaConf

        file = read(path)
        own: dict[str, Any] = {}
        if "defaults" in file.content:
            own["defaults"] = [
                _from_its_group(e, config_path) for e in checked_defaults(file.content["defaults"], path)
            ]
        if "hydra" in file.content:
            refuse_hydra(path)
            own["hydra"] = file.content["hydra"]
        return ConfigResult(
            config=OmegaConf.create(own),
            path=f"{self.scheme()}://{self.path}",
            provider=self.provider,
            header={"package": "_global_" if config_path.split("/")[0] in _WHOLE else file.package},
        )


_WHOLE = ("recipes", "protocol", "transfer", "add")
"""Groups whose options speak of the whole experiment, with a header that says so or without."""


def _shipped() -> Path:
    from kdrun.config.paths import conf_dir

    return conf_dir().resolve()


class RecipesSource(GroupsSource):
    """The folder ``recipes`` inside a folder, and nothing beside it.

    Otherwise any folder there would be a config group, and ``runs=FOLDER`` a choice from the group ``runs``.
    """

    @staticmethod
    def scheme() -> str:
        return "recipes"

    def load_config(self, config_path: str) -> ConfigResult:
        if not _within(config_path):
            raise ConfigLoadError(f"Config not found : {config_path}")
        return super().load_config(config_path)

    def is_group(self, config_path: str) -> bool:
        return (config_path == "" or _within(config_path)) and super().is_group(config_path)

    def is_config(self, config_path: str) -> bool:
        return _within(config_path) and super().is_config(config_path)

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        found = super().list(config_path, results_filter)
        return [name for name in found if name == "recipes"] if config_path == "" else found


class OneRecipe(GroupsSource):
    """A recipe file of its own: its folder holds nothing else that Hydra may see."""

    @staticmethod
    def scheme() -> str:
        return "onerecipe"

    def _is(self, config_path: str) -> bool:
        return config_path.removesuffix(".yaml") == f"recipes/{Path(self.path).stem}"

    def load_config(self, config_path: str) -> ConfigResult:
        if not self._is(config_path):
            raise ConfigLoadError(f"Config not found : {config_path}")
        file = Path(self.path)
        found = GroupsSource(self.provider, f"groups://{file.parent}").load_config(file.name)
        header: dict[str, str | None] = {"package": "_global_"}
        return ConfigResult(config=found.config, path=self.path, provider=self.provider, header=header)

    def available(self) -> bool:
        return True

    def is_group(self, config_path: str) -> bool:
        return config_path in ("", "recipes")

    def is_config(self, config_path: str) -> bool:
        return self._is(config_path)

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        return {"": ["recipes"], "recipes": [Path(self.path).stem]}.get(config_path, [])


def _is_hydras(config_path: str) -> bool:
    """Whether a path is one of Hydra's own groups, of which no folder here has options."""
    return config_path.strip("/").partition("/")[0] == "hydra"


def _within(config_path: str) -> bool:
    return config_path.split("/", 1)[0] == "recipes"


def _from_its_group(entry: Any, config_path: str) -> Any:
    """``distillation/kd`` in any file of ``transfer`` is ``/transfer/distillation/kd``, and what is chosen is one piece.

    Hydra takes it from the group's folder in the option that was chosen, and from the file's own folder in the ones below.
    """
    _refuse_no_entry(entry, config_path)
    group = config_path.partition("/")[0]
    if group in ("transfer", "protocol") and isinstance(entry, str) and not entry.startswith(("/", "_self_")):
        return f"/{group}/{entry}"
    if isinstance(entry, dict):
        return {name: one_piece(option) if isinstance(option, str) else option for name, option in entry.items()}
    return entry


def _refuse_no_entry(entry: Any, config_path: str) -> None:
    """Raise ``InputError`` for what is neither an option nor a group with its option, or options."""
    group, chosen = next(iter(entry.items())) if isinstance(entry, dict) and len(entry) == 1 else (None, entry)
    options = chosen if group is not None and isinstance(chosen, list) else [chosen]
    if group is not None and chosen is None:
        options = []
    if not all(_is_name(name) for name in [*options, *([group] if group is not None else [])]):
        raise InputError(
            f"an entry of a defaults list is an option or {{group: option}}, got {entry!r}",
            key="defaults",
            where=config_path,
        )


def _is_name(name: Any) -> bool:
    """Whether each piece of a name between slashes says something, and none leads upwards."""
    pieces = name.split()[-1:] if isinstance(name, str) else []
    return bool(pieces) and not {"", ".", ".."} & set(pieces[0].removeprefix("/").split("/"))


def register_sources() -> None:
    """Make ``groups://FOLDER``, ``recipes://FOLDER`` and ``onerecipe://FILE`` known to Hydra."""
    for source in (GroupsSource, RecipesSource, OneRecipe):
        SourcesRegistry.instance().register(source)
