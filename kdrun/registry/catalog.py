"""Looking parts up by kind and name, and hashing the source that a part consists of."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from kdrun.errors import InputError, nearest
from kdrun.registry.bases import with_inherited
from kdrun.registry.kinds import HOOKS
from kdrun.registry.reach import Stamps, reached, stamps
from kdrun.registry.scan import module_summary, save_cache
from kdrun.registry.signature import INJECTED, MISSING, Input, Parameter, Part

__all__ = ["Catalog", "catalog", "catalog_with"]

PACKAGES = ("ops", "models", "data", "metrics", "optim", "parts", "stages", "step", "tracking")
"""Sub-packages of ``kdrun`` that hold parts."""


class Catalog:
    """All parts of the shipped packages and of the plugins that the user named.

    ``memo`` is for what follows from parts alone, such as the shapes that steps give: it lasts as long as the parts are these.
    """

    def __init__(self, plugins: Iterable[str] = ()) -> None:
        self.plugins = {str(plugin): _stamps_of(str(plugin)) for plugin in plugins}
        self._parts: dict[tuple[str, str], Part] = {}
        self._hooks: dict[tuple[str, str], Part] = {}
        self._digests: dict[tuple[str, str], str] = {}
        self.memo: dict[str, Any] = {}
        root = Path(__file__).parent.parent
        for package in PACKAGES:
            for file in sorted((root / package).rglob("*.py")):
                relative = file.relative_to(root.parent).with_suffix("")
                name = ".".join(relative.parts).removesuffix(".__init__")
                self._read(name, str(file))
        for plugin in self.plugins:
            for name, path in _modules_of(plugin):
                self._read(name, path)
        save_cache()

    def serves(self, plugins: Iterable[str]) -> bool:
        """Whether this is the catalog for ``plugins``, as their files are now."""
        return self.plugins == {str(plugin): _stamps_of(str(plugin)) for plugin in plugins}

    def _read(self, module: str, file: str) -> None:
        files = stamps(module, file)
        for entry in module_summary(module, file)["parts"]:
            part = _part(module, file, with_inherited(module, file, entry), files)
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
            near = self._beside(kind, str(name)) or nearest(name, self.names(kind))
            hint = near or f"; known: {', '.join(self.names(kind)[:12]) or 'none'}"
            raise InputError(f"no {kind} is called '{name}'{hint}", key=key)
        return part

    def _beside(self, kind: str, name: str) -> str:
        """What to say where a file in the working folder has the part, and was not named; else empty."""
        for file in sorted(Path.cwd().glob("*.py")) if not self.plugins else ():
            with contextlib.suppress(InputError, OSError, UnicodeDecodeError, ValueError):
                if any(
                    (p["kind"], p["name"]) == (kind, name) for p in module_summary(f"plugin:{file}", str(file))["parts"]
                ):
                    return f"; {file.name} has it: add plugins=[{file.name}]"
        return ""

    def hook(self, mark: str, *targets: str) -> Part | None:
        """The function that says ``mark`` (``plan_of``) of the first of ``targets`` of which one says it."""
        return next((found for name in targets if (found := self._hooks.get((mark, name)))), None)

    def digest(self, kind: str, name: str) -> str:
        """Hash of the part's source and of all source, kdrun's or its plug-in's own, that it can reach, comments and places aside."""
        if (kind, name) not in self._digests:
            self._digests[kind, name] = self._digest(self.get(kind, name))
        return self._digests[kind, name]

    def _digest(self, part: Part) -> str:
        seen = reached(part.module, part.file, part.qualname)
        save_cache()
        joined = "\n".join(sorted(seen.values()))
        return hashlib.sha256(joined.encode()).hexdigest()


def _modules_of(plugin: str) -> list[tuple[str, str]]:
    """The modules of what the user named, and their files: one of a file, all of a package. Raises ``InputError`` if it is not there."""
    path = Path(plugin).expanduser()
    if plugin.endswith(".py"):
        if not path.is_file():
            raise InputError(f"plugin file {plugin} does not exist", key="plugins")
        return [(f"plugin:{path.resolve()}", str(path.resolve()))]
    try:
        spec = importlib.util.find_spec(plugin)
    except (ImportError, ValueError):
        spec = None
    if spec is None or spec.origin is None:
        raise InputError(f"plugin '{plugin}' is neither a .py file nor an installed package", key="plugins")
    origin = Path(spec.origin)
    if origin.name != "__init__.py":
        return [(plugin, str(origin))]
    found = (
        (_dotted(plugin, file.relative_to(origin.parent)), str(file)) for file in sorted(origin.parent.rglob("*.py"))
    )
    return [(name, file) for name, file in found if name is not None]


def _dotted(package: str, file: Path) -> str | None:
    """The name that a file inside a package is imported by; None if it cannot be."""
    pieces = [piece for piece in file.with_suffix("").parts if piece != "__init__"]
    return ".".join([package, *pieces]) if all(piece.isidentifier() for piece in pieces) else None


def _stamps_of(plugin: str) -> Stamps:
    return {path: stamp for module in _modules_of(plugin) for path, stamp in stamps(*module).items()}


def _part(module: str, file: str, entry: dict[str, Any], files: Stamps) -> Part:
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
        stamps=files,
    )


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
