"""Importing the module of a part: by name for kdrun's and for packages, from its file for a plug-in that is one.

A plug-in's file stands in a package of its own, whose other modules are those beside it, so that two plug-ins may each have their
``helper.py``. What changed on disk is imported anew, together with all that imports it.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import sys
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from kdrun.errors import InputError
from kdrun.registry.files import OwnModules
from kdrun.registry.reach import Stamps, stamps

__all__ = ["import_module", "is_of_plugin"]

_PREFIX = "kdrun_plugin_"

_packages: dict[str, Stamps] = {}
"""The packages that were imported as plug-ins, and their files as they were then."""


def import_module(module: str, file: str) -> ModuleType:
    """The module of a part, anew if it is a plug-in's and its file or a module of its own has changed."""
    if module.split(".")[0] == "kdrun":
        return importlib.import_module(module)
    present = stamps(module, file)
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    if module.startswith("plugin:"):
        return _beside(Path(file), present)
    top = module.split(".")[0]
    if _packages.setdefault(module, present) != present:
        _packages[module] = present
        _forget(top)
    return importlib.import_module(module)


def is_of_plugin(module: str) -> bool:
    """Whether a module, by the name that it was imported by, is one of a plug-in's own."""
    top = module.split(".")[0]
    return top.startswith(_PREFIX) or top in {package.split(".")[0] for package in _packages}


def _beside(file: Path, present: Stamps) -> ModuleType:
    """A plug-in's file as a module of a package made for it as it is now."""
    package = _PREFIX + hashlib.sha256(f"{file} {sorted(present.items())}".encode()).hexdigest()[:16]
    name = f"{package}.{file.stem if file.stem.isidentifier() else 'plugin'}"
    if name in sys.modules:
        return sys.modules[name]
    importlib.invalidate_caches()
    sys.modules[package] = ModuleType(package, f"What lies beside {file}.")
    sys.modules[package].__path__ = [str(file.parent)]
    spec = spec_from_file_location(name, file, loader=_Loader(name, str(file)))
    if spec is None or spec.loader is None:
        raise InputError(f"plugin {file} is not a Python file")
    sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(sys.modules[name])
    except BaseException:
        _forget(package)
        raise
    return sys.modules[name]


def _forget(top: str) -> None:
    """Drop a package with all its modules, so that the next import reads them from disk."""
    for name in [n for n in sys.modules if n == top or n.startswith(f"{top}.")]:
        del sys.modules[name]
    importlib.invalidate_caches()


class _Loader(SourceFileLoader):
    """Compiles the source as it is: cached bytecode does not know two versions of one size in one second apart."""

    def get_code(self, fullname: str) -> Any:
        tree = ast.parse(self.get_data(self.path), self.path)
        top = fullname.split(".")[0]
        if top.startswith(_PREFIX):
            tree = _Within(top, OwnModules(Path(sys.modules[top].__path__[0]))).visit(tree)
        return compile(tree, self.path, "exec")


class _Within(ast.NodeTransformer):
    """Lets imports of modules beside a plug-in's file find those in its own package."""

    def __init__(self, package: str, own: OwnModules) -> None:
        self.package, self.own = package, own

    def visit_ImportFrom(self, node: ast.ImportFrom) -> Any:
        names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        if not node.level and any(self.own.find(name) for name in names):
            node.module = f"{self.package}.{node.module}"
        return node

    def visit_Import(self, node: ast.Import) -> Any:
        return [ast.fix_missing_locations(ast.copy_location(s, node)) for a in node.names for s in self._import(a)]

    def _import(self, alias: ast.alias) -> list[ast.stmt]:
        if self.own.find(alias.name) is None:
            return [ast.Import([alias])]
        inside, top = f"{self.package}.{alias.name}", alias.name.split(".")[0]
        if alias.asname or top == alias.name:
            return [ast.Import([ast.alias(inside, alias.asname or top)])]
        loaded = ast.ImportFrom(inside, [ast.alias("__name__", "_")], 0)
        return [loaded, ast.ImportFrom(self.package, [ast.alias(top)], 0)]


class _Finder:
    """Finds the modules of plug-ins, as ``sys.meta_path`` asks for them."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if not is_of_plugin(name):
            return None
        spec = PathFinder.find_spec(name, path)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = _Loader(name, str(spec.origin))
        return spec


_finder = _Finder()
