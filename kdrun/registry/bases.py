"""What a part that is a class has from the class it builds on, as Python has it, but read from the text.

A class without ``__init__`` has its base's parameters, one without ``forward`` its inputs. One whose ``__init__`` hands ``**more``
on has its own parameters and the base's, so that no signature stands twice.
"""

from __future__ import annotations

from typing import Any

from kdrun.registry.files import OwnModules, module_file, own_modules
from kdrun.registry.scan import module_summary

__all__ = ["with_inherited"]


def with_inherited(module: str, file: str, entry: dict[str, Any]) -> dict[str, Any]:
    """The signature in ``entry``, completed by the first base whose source is kdrun's or the plug-in's own."""
    return _completed(module, file, entry, own_modules(module, file))


def _completed(module: str, file: str, entry: dict[str, Any], own: OwnModules | None) -> dict[str, Any]:
    lacks = entry.get("lacks", ())
    for name in entry.get("bases", ()) if lacks else ():
        found = _class(module, file, name, own)
        if found is None:
            continue
        base = _completed(*found, own)
        if "inputs" in lacks and "inputs" not in base["lacks"]:
            entry = {**entry, "inputs": base["inputs"], "lacks": [w for w in lacks if w != "inputs"]}
        if "parameters" in lacks:
            said = {parameter["name"] for parameter in entry["parameters"]}
            above = [parameter for parameter in base["parameters"] if parameter["name"] not in said]
            entry = {**entry, "parameters": [*above, *entry["parameters"]], "open": base["open"]}
        break
    return entry


def _class(module: str, file: str, name: str, own: OwnModules | None) -> tuple[str, str, dict[str, Any]] | None:
    """Module, file and signature of the class that ``name`` is in a module; None for one from elsewhere."""
    summary = module_summary(module, file)
    if name in summary["classes"]:
        return module, file, summary["classes"][name]
    home, attribute = summary["imports"].get(name, ("", ""))
    path = module_file(home, own) if attribute else None
    return _class(home, path, attribute, own) if path is not None else None
