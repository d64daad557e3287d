"""Looking parts up by kind and name, and hashing the source that a part consists of."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
from collections.abc import Iterable, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from kdrun.errors import InputError, nearest
from kdrun.registry.bases import with_inherited
from kdrun.registry.face import stub_imports
from kdrun.registry.kinds import HOOKS
from kdrun.registry.scan import file_stamp, module_file, module_summary, save_cache
from kdrun.registry.signature import INJECTED, MISSING, Input, Parameter, Part

__all__ = ["Catalog", "catalog", "catalog_with"]

PACKAGES = ("ops", "models", "data", "metrics", "optim", "parts", "stages", "step", "tracking")
"""Sub-packages of ``kdrun`` that hold parts."""

WITHOUT_EFFECT = (
    "kdrun.errors",
    "kdrun.registry",
    "kdrun.tracking",
    "kdrun.report",
    "kdrun.types",
    "kdrun.runtime.progress",
)
"""Modules that cannot change a stage's result; their source is left out of keys."""


class Catalog:
    """All parts of the shipped packages and of the plugins that the user named."""

    def __init__(self, plugins: Iterable[str] = ()) -> None:
        self.plugins = {str(plugin): file_stamp(str(plugin)) for plugin in plugins}
        self._parts: dict[tuple[str, str], Part] = {}
        self._hooks: dict[tuple[str, str], Part] = {}
        root = Path(__file__).parent.parent
        for package in PACKAGES:
            for file in sorted((root / package).rglob("*.py")):
                relative = file.relative_to(root.parent).with_suffix("")
                name = ".".join(relative.parts).removesuffix(".__init__")
                self._read(name, str(file))
        for plugin in self.plugins:
            self._read_plugin(plugin)
        save_cache()

    def serves(self, plugins: Iterable[str]) -> bool:
        """Whether this is the catalog for ``plugins``, as their files are now."""
        return self.plugins == {str(plugin): file_stamp(str(plugin)) for plugin in plugins}

    def _read_plugin(self, plugin: str) -> None:
        path = Path(plugin)
        if plugin.endswith(".py"):
            if not path.is_file():
                raise InputError(f"plugin file {plugin} does not exist", key="plugins")
            self._read(f"plugin:{path.resolve()}", str(path.resolve()))
            return
        try:
            spec = importlib.util.find_spec(plugin)
        except (ImportError, ValueError):
            spec = None
        if spec is None or spec.origin is None:
            raise InputError(f"plugin '{plugin}' is neither a .py file nor an installed package", key="plugins")
        self._read(plugin, spec.origin)

    def _read(self, module: str, file: str) -> None:
        for entry in module_summary(module, file)["parts"]:
            part = _part(module, file, with_inherited(module, file, entry))
            known = self._hooks if part.kind in HOOKS else self._parts
            previous = known.get((part.kind, part.name))
            if previous is not None:
                raise InputError(
                    f"{part.kind} '{part.name}' is registered twice: {previous.file}:{previous.line} and {file}:{part.line}"
                )
            known[part.kind, part.name] = part

    def __iter__(self) -> Iterator[Part]:
        return iter(self._parts.values())

    def names(self, kind: str) -> list[str]:
        """Names of one kind, sorted."""
        return sorted(name for k, name in self._parts if k == kind)

    def find(self, kind: str, name: str) -> Part | None:
        return self._parts.get((kind, name))

    def get(self, kind: str, name: str, *, key: str | None = None) -> Part:
        """Return the part, or raise ``InputError`` with the nearest registered spelling."""
        part = self._parts.get((kind, str(name)))
        if part is None:
            near = nearest(name, self.names(kind))
            hint = near or f"; known: {', '.join(self.names(kind)[:12]) or 'none'}"
            raise InputError(f"no {kind} is called '{name}'{hint}", key=key)
        return part

    def hook(self, mark: str, *targets: str) -> Part | None:
        """The function that says ``mark`` (``plan_of``) of the first of ``targets`` of which one says it."""
        return next((found for name in targets if (found := self._hooks.get((mark, name)))), None)

    @functools.cache  # noqa: B019 - one catalog lives as long as the process
    def digest(self, kind: str, name: str) -> str:
        """Hash of the part's source and of all kdrun source that it can reach, comments and places aside."""
        part = self.get(kind, name)
        seen: dict[str, str] = {}
        _reach(part.module, part.file, part.qualname, seen)
        save_cache()
        joined = "\n".join(sorted(seen.values()))
        return hashlib.sha256(joined.encode()).hexdigest()


def _part(module: str, file: str, entry: dict[str, Any]) -> Part:
    parameters = [p for p in entry["parameters"] if p["name"] not in INJECTED]
    return Part(
        kind=entry["kind"],
        name=entry["name"],
        module=module,
        qualname=entry["qualname"],
        file=file,
        line=entry["line"],
        inputs=tuple(Input(**i) for i in entry["inputs"]),
        parameters={p["name"]: Parameter(p["name"], p["annotation"], p.get("default", MISSING)) for p in parameters},
        open_parameters=entry["open"],
        returns=entry["returns"],
        doc=entry["doc"],
        options=entry["options"],
        injected=frozenset(p["name"] for p in entry["parameters"] if p["name"] in INJECTED),
        stamp=file_stamp(file),
    )


def _reach(module: str, file: str, name: str, seen: dict[str, str]) -> None:
    """Collect digests of ``name`` and of every kdrun definition that its source mentions."""
    label = f"{module.removeprefix('plugin:').rpartition('/')[2]}:{name}"
    if label in seen or module.startswith(WITHOUT_EFFECT):
        return
    summary = module_summary(module, file)
    definition = summary["definitions"].get(name)
    if definition is None:
        target = summary["imports"].get(name) or stub_imports(file).get(name)
        if target is not None:
            _follow(target, seen)
        return
    seen[label] = definition["digest"]
    imports = {**summary["imports"], **definition["imports"]}
    for used in definition["names"]:
        if used in definition["imports"] or used not in summary["definitions"]:
            if used in imports:
                _follow(imports[used], seen, definition["attributes"], used)
        else:
            _reach(module, file, used, seen)


def _follow(target: Sequence[str], seen: dict[str, str], attributes: Iterable[str] = (), local: str = "") -> None:
    """Continue into an imported name; for an imported module, into the attributes that are used."""
    module, attribute = target
    file = module_file(module)
    inner = module_file(f"{module}.{attribute}") if attribute else file
    if inner is not None:
        whole = f"{module}.{attribute}" if attribute else module
        for used in attributes:
            if used.startswith(f"{local}."):
                _reach(whole, inner, used.split(".", 1)[1], seen)
    elif file is not None:
        _reach(module, file, attribute, seen)


_catalog: Catalog | None = None
_inside: ContextVar[Catalog | None] = ContextVar("_inside", default=None)


def catalog(plugins: Iterable[str] | None = None) -> Catalog:
    """The catalog in force, of the process or of a ``catalog_with`` block; ``plugins`` puts theirs in force."""
    global _catalog
    found = _inside.get() or _catalog
    if found is None or (plugins is not None and not found.serves(plugins)):
        found = Catalog(plugins or ())
        if _inside.get() is None:
            _catalog = found
        else:
            _inside.set(found)
    return found


@contextlib.contextmanager
def catalog_with(plugins: Iterable[str]) -> Iterator[Catalog]:
    """Inside the block, in this thread or task alone, the catalog is that of ``plugins``."""
    found = next((c for c in (_inside.get(), _catalog) if c is not None and c.serves(plugins)), None)
    token = _inside.set(found or Catalog(plugins))
    try:
        yield catalog()
    finally:
        _inside.reset(token)
