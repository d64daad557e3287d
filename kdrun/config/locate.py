"""From a key of the composed configuration back to the file and line that set it."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml

__all__ = ["locate"]


@functools.lru_cache(maxsize=256)
def _tree(path: Path) -> tuple[yaml.Node | None, str | None]:
    """The YAML node tree of a file and its ``@package`` header."""
    text = path.read_text(encoding="utf-8")
    header = re.match(r"\s*#\s*@package\s+(\S+)", text)
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader), header.group(1) if header else None
    except yaml.YAMLError:
        return None, None


def _line(node: yaml.Node | None, path: Sequence[str]) -> tuple[int, int] | None:
    """How deep ``path`` can be followed from ``node``, and the line (1-based) reached."""
    depth, line = 0, None
    for piece in path:
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == piece), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and piece.isdigit() and int(piece) < len(node.value):
            node = node.value[int(piece)]
            line = node.start_mark.line + 1
        else:
            break
        depth += 1
    return (depth, line) if line is not None else None


def locate(key: str, sources: Iterable[tuple[Path, str]], overrides: Iterable[str] = ()) -> str | None:
    """Return ``file:line`` of the deepest match for a dotted ``key``, or ``command line``.

    ``sources`` are pairs of file and the group's package (``teacher``; empty for global), weakest first.
    """
    pieces = [p for p in key.replace("[", ".").replace("]", "").split(".") if p]
    for override in overrides:
        name = override.lstrip("+~").split("=", 1)[0].split("@")[0]
        if pieces and (key == name or key.startswith(name + ".")) and "." in name:
            return f"command line ({override})"
    best: tuple[int, int, str] | None = None
    for rank, (path, group) in enumerate(sources):
        if not path.is_file():
            continue
        tree, header = _tree(path)
        package = "" if header == "_global_" else (header or group)
        prefix = [p for p in package.split(".") if p]
        if pieces[: len(prefix)] != prefix:
            continue
        found = _line(tree, pieces[len(prefix) :])
        if found is not None:
            score = (found[0] + len(prefix), rank, f"{_short(path)}:{found[1]}")
            best = score if best is None or score[:2] >= best[:2] else best
    return best[2] if best else None


def _short(path: Path) -> str:
    try:
        return path.resolve().relative_to(Path.cwd()).as_posix()
    except ValueError:
        return str(path)
