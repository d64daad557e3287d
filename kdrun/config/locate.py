"""From a key of the composed configuration back to the file and line, or the override, that set it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml

from kdrun.config.files import short, tree
from kdrun.config.layers import COMMAND_LINE, Override

__all__ = ["covers", "locate"]


def _line(node: yaml.Node | None, path: Sequence[str]) -> tuple[int, int] | None:
    """How deep ``path`` can be followed from ``node``, and the line (1-based) reached.

    Keys may be dotted, and a step with one update has it in place of ``updates.main``.
    """
    if not path:
        return None
    if isinstance(node, yaml.SequenceNode) and path[0].isdigit() and int(path[0]) < len(node.value):
        inner = node.value[int(path[0])]
        return _deeper(inner, path, 1, inner.start_mark.line + 1)
    if not isinstance(node, yaml.MappingNode):
        return None
    for length in range(len(path), 0, -1):
        name = ".".join(path[:length])
        found = next(((k, v) for k, v in node.value if k.value == name), None)
        if found is not None:
            return _deeper(found[1], path, length, found[0].start_mark.line + 1)
    if list(path[:2]) == ["updates", "main"]:
        return _line(node, path[2:])
    return None


def _deeper(node: yaml.Node, path: Sequence[str], length: int, line: int) -> tuple[int, int]:
    further = _line(node, path[length:])
    return (length + further[0], further[1]) if further else (length, line)


def locate(key: str, sources: Iterable[tuple[Path, str]], overrides: Iterable[Override] = ()) -> str | None:
    """Return ``file:line`` of the deepest match for a dotted ``key``, or where the user said it.

    ``sources`` are pairs of file and the group's package (``teacher``; empty for the top), weakest first.
    """
    pieces = [p for p in key.replace("[", ".").replace("]", "").split(".") if p]
    sources = list(sources)
    for override in reversed(list(overrides)):
        if covers(override, key, pieces):
            if override.layer == COMMAND_LINE:
                return f"{override.origin} ({override.key})"
            found = locate(".".join([override.key, *_beneath(override, key)]), sources)
            return f"{found} ({override.layer})" if found else override.layer
    best: tuple[int, int, str] | None = None
    for rank, (path, package) in enumerate(sources):
        if not path.is_file():
            continue
        prefix = [p for p in package.split(".") if p]
        if pieces[: len(prefix)] != prefix:
            continue
        reached = _line(tree(path), pieces[len(prefix) :])
        if reached is not None:
            score = (reached[0] + len(prefix), rank, f"{short(path)}:{reached[1]}")
            best = score if best is None or score[:2] >= best[:2] else best
    return best[2] if best else None


def covers(override: Override, key: str, pieces: Sequence[str]) -> bool:
    """Whether an override set ``key`` itself or what it stands in, below the top."""
    if not pieces:
        return False
    short_key = key.replace(".updates.main", "").removeprefix("graph.")
    path = override.path.removeprefix("graph.")
    if short_key == path or ("." in override.path and short_key.startswith(path + ".")):
        return True
    return short_key.startswith(path + ".") and bool(_beneath(override, key))


def _beneath(override: Override, key: str) -> list[str]:
    """What of ``key`` stands inside the override's value, a mapping of its own."""
    path = override.path.removeprefix("graph.")
    rest = key.replace(".updates.main", "").removeprefix("graph.").removeprefix(path).strip(".").split(".")
    value, found = override.value, []
    for piece in rest:
        if not isinstance(value, dict) or piece not in value:
            break
        found.append(piece)
        value = value[piece]
    return found
