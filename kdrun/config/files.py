"""Reading YAML files of groups and recipes: plain content, never code, every name once."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import Any

import yaml

from kdrun.errors import InputError, steers_a_terminal
from kdrun.limits import limit, refuse_beyond

__all__ = ["ConfigFile", "read", "tree"]

_FAST = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_FLOAT = re.compile(
    r"^[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+|\.[0-9_]+(?:[eE][-+][0-9]+)?|\.(?:inf|Inf|INF))$|^\.(?:nan|NaN|NAN)$"
)


class _Loader(_FAST):  # type: ignore[misc, valid-type]
    """YAML as OmegaConf reads it: ``1e-3`` is a number, a date is text, a key stands once."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[Any] = set()
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(None, None, _COPIES, key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"'{key.value}' stands twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":timestamp", ":float"))]
    for first, resolvers in _FAST.yaml_implicit_resolvers.items()
}
for _first in "-+0123456789.":
    _Loader.yaml_implicit_resolvers.setdefault(_first, []).append(("tag:yaml.org,2002:float", _FLOAT))

_COPIES = "anchors, aliases and merge keys are copied before any override: write 'like: NAME' instead"


@dataclass(frozen=True)
class ConfigFile:
    """A file's content and the package that its ``# @package`` header names (None without one)."""

    path: Path
    content: dict[str, Any]
    package: str | None


def read(path: Path) -> ConfigFile:
    """Read a file; it is parsed once, as long as it does not change.

    Raises ``InputError``, with file and line, for anything but plain YAML with a mapping at the top.
    """
    try:
        stat = path.stat()
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    if not S_ISREG(stat.st_mode):
        raise InputError("a file is expected, and this is a folder or a device", where=short(path))
    refuse_beyond("file_bytes", stat.st_size, "bytes of a configuration file", where=short(path))
    return _read(path, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=1024)
def _read(path: Path, changed: int, size: int) -> ConfigFile:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}") from None
    _refuse_copies(text, path)
    try:
        content = yaml.load(text, Loader=_Loader)
    except RecursionError:
        raise InputError("exceeded maximum nesting depth", where=short(path)) from None
    except yaml.YAMLError as error:
        raise InputError(f"not plain YAML: {getattr(error, 'problem', error)}", where=_place(path, error)) from None
    except ValueError as error:
        raise InputError(f"not plain YAML: {error}", where=short(path)) from None
    if content is None:
        content = {}
    _refuse_odd(content, "", 1, short(path))
    if not isinstance(content, dict):
        raise InputError(f"a mapping is expected, got {type(content).__name__}", where=short(path))
    header = re.match(r"\ufeff?(?:\s*#[^\n]*\n)*?\s*#\s*@package\s+(\S+)", text)
    return ConfigFile(path, content, header.group(1) if header else None)


def _refuse_odd(content: Any, key: str, depth: int, where: str) -> None:
    """Refuse what no configuration needs: text that steers a terminal, names without end, nesting without end."""
    if depth > limit("depth"):
        raise InputError(f"nested deeper than {limit('depth')} levels (KDRUN_DEPTH sets the limit)", where=where)
    if isinstance(content, dict):
        for name, value in content.items():
            refuse_beyond("name_length", len(str(name)), "characters of a name", where=where)
            _refuse_unseen(name, key, where)
            _refuse_odd(value, f"{key}.{name}" if key else str(name), depth + 1, where)
    elif isinstance(content, list):
        for i, value in enumerate(content):
            _refuse_odd(value, f"{key}.{i}", depth + 1, where)
    else:
        _refuse_unseen(content, key, where)


def _refuse_unseen(text: Any, key: str, where: str) -> None:
    if isinstance(text, str) and steers_a_terminal(text):
        shown = text if len(text) <= 60 else f"{text[:57]}..."
        raise InputError(f"{shown!a} has characters that are not seen but steer a terminal", key=key, where=where)


def _refuse_copies(text: str, path: Path) -> None:
    if "&" not in text and "*" not in text:
        return
    try:
        for event in yaml.parse(text, Loader=_FAST):
            if getattr(event, "anchor", None) is not None:
                raise InputError(_COPIES, where=f"{short(path)}:{event.start_mark.line + 1}")
    except yaml.YAMLError as error:
        raise InputError(f"not plain YAML: {getattr(error, 'problem', error)}", where=_place(path, error)) from None


def _place(path: Path, error: Any) -> str:
    mark = getattr(error, "problem_mark", None)
    return f"{short(path)}:{mark.line + 1}" if mark is not None else short(path)


def tree(path: Path) -> yaml.Node | None:
    """The file's tree of nodes, which know their lines; None if it cannot be read."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return _tree(path, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=256)
def _tree(path: Path, changed: int, size: int) -> yaml.Node | None:
    try:
        return yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, yaml.YAMLError, UnicodeDecodeError):
        return None


def short(path: Path) -> str:
    """The path from the working folder where it lies inside, else the whole."""
    try:
        return path.resolve().relative_to(Path.cwd()).as_posix()
    except ValueError:
        return str(path)
