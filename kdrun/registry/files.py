"""Where the source of a module lies: one of kdrun's, or one of a plug-in's own.

A plug-in is a Python file or an installed package that the user named. Its own modules are those beside the file, or inside the
package; what else it imports is installed, and no part's source.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

__all__ = ["OwnModules", "file_stamp", "module_file", "own_modules"]


@dataclass(frozen=True)
class OwnModules:
    """Where a plug-in's own modules are found: in ``folder``, those of the package ``package`` alone if it is one."""

    folder: Path
    package: str = ""

    def find(self, module: str) -> str | None:
        """The file of a module by its dotted name; None if it is not the plug-in's own."""
        top = module.split(".")[0]
        if top == "kdrun" or self.package not in ("", top):
            return None
        return _source(self.folder, module)

    def along(self, name: str) -> list[tuple[str, str]]:
        """The own modules that importing a dotted name runs, those of the packages around it included, with their files."""
        pieces = name.split(".")
        names = [".".join(pieces[:count]) for count in range(1, len(pieces) + 1)]
        return [(module, file) for module in names if (file := self.find(module)) is not None]


def own_modules(module: str, file: str) -> OwnModules | None:
    """The own modules of a plug-in by the module that it is; None for kdrun's."""
    path = Path(file)
    if module.startswith("plugin:"):
        return OwnModules(path.parent)
    pieces = module.split(".")
    if pieces[0] == "kdrun":
        return None
    return OwnModules(path.parents[len(pieces) - (path.name != "__init__.py")], pieces[0])


def module_file(module: str, own: OwnModules | None = None) -> str | None:
    """The source file of a ``kdrun`` module, of a plug-in given as ``plugin:/path``, or of one of its ``own``; else None."""
    if module.startswith("plugin:"):
        return module.removeprefix("plugin:")
    if module == "kdrun" or module.startswith("kdrun."):
        return _source(Path(__file__).parent.parent.parent, module)
    return own.find(module) if own is not None else None


def _source(folder: Path, module: str) -> str | None:
    base = folder.joinpath(*module.split("."))
    found = (c for c in (base.parent / f"{base.name}.py", base / "__init__.py") if module and c.is_file())
    return next(map(str, found), None)


def file_stamp(file: str) -> tuple[int, int] | None:
    """A file's time of change (ns) and size, by which a changed one is known; None if it is gone."""
    try:
        stat = os.stat(file)
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size
