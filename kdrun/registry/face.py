"""The public face of a package of parts: ``ops.kl_divergence`` without knowing the file that it stands in.

What a face holds is written once, in the package's stub ``__init__.pyi``, which type checkers read too. A part's module
is imported when its name is first used.
"""

from __future__ import annotations

import ast
import functools
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["face", "stub_imports"]


@functools.cache
def stub_imports(file: str) -> dict[str, tuple[str, str]]:
    """What the stub beside a package's ``__init__.py`` imports: name -> (module, attribute); empty without a stub."""
    stub = Path(file).with_suffix(".pyi")
    if not stub.is_file():
        return {}
    tree = ast.parse(stub.read_text(encoding="utf-8"), filename=str(stub))
    return {
        alias.asname or alias.name: (node.module or "", alias.name)
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def face(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The functions ``__getattr__`` and ``__dir__`` of a package, from its stub."""
    module = sys.modules[package]

    def known() -> dict[str, tuple[str, str]]:
        return stub_imports(str(module.__file__))

    def get(name: str) -> Any:
        if name == "__all__":
            return sorted(known())
        if name.startswith("__") or name not in known():
            raise AttributeError(f"module '{package}' has no attribute '{name}'", name=name, obj=module)
        home, attribute = known()[name]
        value = getattr(importlib.import_module(home), attribute)
        setattr(module, name, value)
        return value

    return get, lambda: sorted(known())
