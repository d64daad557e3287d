"""English text that is on every machine: the docstrings of Python's standard library."""

from __future__ import annotations

import ast
import functools
import hashlib
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path

from kdrun.errors import DataError

__all__ = ["docstrings"]


def _module_files() -> list[Path]:
    """Modules of the standard library, in an order fixed by a hash of their place in it."""
    root = Path(sysconfig.get_path("stdlib"))
    skipped = {"test", "tests", "idlelib", "lib2to3", "site-packages", "dist-packages", "__pycache__", "turtledemo"}
    files = [p.relative_to(root) for p in root.rglob("*.py") if not skipped & set(p.relative_to(root).parts)]
    return [root / p for p in sorted(files, key=lambda p: hashlib.sha256(p.as_posix().encode()).digest())]


def _docstrings_of(path: Path) -> Iterator[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found = ast.get_docstring(node)
            if found:
                yield found


@functools.cache
def docstrings(*characters: int) -> tuple[str, ...]:
    """Docstrings of this Python's standard library: one text for each number of ``characters``, of other modules each.

    A docstring comes once. Raises ``DataError`` if the library has too few.
    """
    files = iter(_module_files())
    seen: set[str] = set()
    texts = []
    for wanted in characters:
        parts: list[str] = []
        length = 0
        while length < wanted:
            path = next(files, None)
            if path is None:
                raise DataError(f"the standard library's docstrings are fewer than {sum(characters)} characters")
            for found in _docstrings_of(path):
                if found not in seen:
                    seen.add(found)
                    parts.append(found)
                    length += len(found) + 2
        texts.append("\n\n".join(parts)[:wanted])
    return tuple(texts)
