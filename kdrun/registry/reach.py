"""What a definition's source depends on: all definitions of kdrun's and of a plug-in's own that it can reach."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from kdrun.registry.face import stub_imports
from kdrun.registry.files import OwnModules, file_stamp, module_file, own_modules
from kdrun.registry.scan import module_summary

__all__ = ["Stamps", "reached", "stamps"]

Stamps = dict[str, tuple[int, int] | None]
"""Files by their paths, as they were when they were read."""

WITHOUT_EFFECT = (
    "kdrun.errors",
    "kdrun.registry",
    "kdrun.tracking",
    "kdrun.report",
    "kdrun.types",
    "kdrun.runtime.checkpoints",
    "kdrun.runtime.files",
    "kdrun.runtime.board",
    "kdrun.runtime.console",
    "kdrun.runtime.journal",
    "kdrun.runtime.live",
    "kdrun.runtime.progress",
    "kdrun.runtime.reporters",
    "kdrun.runtime.spinner",
)
"""Modules that cannot change a stage's result; their source is left out of keys."""


def reached(module: str, file: str, name: str) -> dict[str, str]:
    """Digests of the definition ``name`` of a module and of all that it mentions, by module and name."""
    reach = _Reach(own_modules(module, file))
    reach.definition(module, file, name)
    return reach.seen


def stamps(module: str, file: str) -> Stamps:
    """The file of a plug-in and those of all its own modules that are run by importing it, as they are now; none of kdrun's."""
    own = own_modules(module, file)
    found: Stamps = {}
    todo = [(module, file), *own.along(module)] if own is not None else []
    while todo:
        name, path = todo.pop()
        if path in found:
            continue
        found[path] = file_stamp(path)
        summary = module_summary(name, path) if found[path] is not None else {"imports": {}, "definitions": {}}
        inner = [d["imports"] for d in summary["definitions"].values()]
        for base, attribute in (target for imports in (summary["imports"], *inner) for target in imports.values()):
            todo += own.along(f"{base}.{attribute}".strip(".")) if own is not None else []
    return found


class _Reach:
    """Follows names through modules; ``seen`` holds the digest of each definition that was reached."""

    def __init__(self, own: OwnModules | None) -> None:
        self.own = own
        self.seen: dict[str, str] = {}
        self._met: set[str] = set()

    def definition(self, module: str, file: str, name: str) -> None:
        """Collect a definition's digest and those of what its source mentions."""
        label = f"{module}:{name}"
        if label in self._met or module.startswith(WITHOUT_EFFECT):
            return
        self._met.add(label)
        summary = module_summary(module, file)
        found = summary["definitions"].get(name)
        if found is None:
            for target in _bound(name, summary["imports"]) or _bound(name, stub_imports(file)):
                self._follow(target)
            return
        self.seen[label] = found["digest"]
        imports = {**summary["imports"], **found["imports"]}
        for used in found["names"]:
            if used not in found["imports"] and used in summary["definitions"]:
                self.definition(module, file, used)
            else:
                for target in _bound(used, imports):
                    self._follow(target, found["attributes"], used)

    def _follow(self, target: Sequence[str], attributes: Iterable[str] = (), local: str = "") -> None:
        """Continue into an imported name; for an imported module, into the attributes that are used."""
        module, attribute = target
        whole = f"{module}.{attribute}".strip(".") if attribute else module
        file, inner = module_file(module, self.own), module_file(whole, self.own)
        if inner is not None and whole.split(".")[0] != "kdrun":
            self._whole(whole, inner)
        elif inner is not None:
            for used in attributes:
                if used.startswith(f"{local}."):
                    self.definition(whole, inner, used.split(".", 1)[1])
        elif file is not None:
            self.definition(module, file, attribute)

    def _whole(self, module: str, file: str) -> None:
        """A plug-in's own module that is bound as one: whatever is taken out of it, in whatever way."""
        if module in self._met:
            return
        self._met.add(module)
        summary = module_summary(module, file)
        for name in summary["definitions"]:
            self.definition(module, file, name)
        for target in summary["imports"].values():
            self._follow(target)


def _bound(name: str, imports: Mapping[str, Sequence[str]]) -> list[Sequence[str]]:
    """What ``name`` may stand for: an import of that name, modules inside it, or what a module gives that is imported whole."""
    found = [t for local, t in imports.items() if (local == name or local.startswith(f"{name}.")) and t[1] != "*"]
    return found or [(base, name) for base, attribute in imports.values() if attribute == "*"]
