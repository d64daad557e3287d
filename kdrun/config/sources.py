"""What Hydra may see of a folder that holds recipes."""

from __future__ import annotations

from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigLoadError, ConfigResult

__all__ = ["RecipesSource"]


class RecipesSource(FileConfigSource):
    """The folder ``recipes`` inside a folder, and nothing beside it.

    Otherwise any folder there would be a config group, and ``runs=FOLDER`` a choice from the group ``runs``.
    """

    @staticmethod
    def scheme() -> str:
        return "recipes"

    @staticmethod
    def register() -> None:
        """Make ``recipes://FOLDER`` known to Hydra."""
        SourcesRegistry.instance().register(RecipesSource)

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


def _within(config_path: str) -> bool:
    return config_path.split("/", 1)[0] == "recipes"
