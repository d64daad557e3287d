"""Reading YAML files of groups and recipes: plain content, never code, every name once."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import Any

import yaml

from kdrun.config.places import refuse_way_out
from kdrun.errors import InputError, steers_a_terminal
from kdrun.limits import Limits, refuse_beyond

__all__ = ["RESOLVERS", "ConfigFile", "read", "tree"]

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
            if not isinstance(key.value, str):
                raise yaml.constructor.ConstructorError(None, None, "a name is text", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"'{key.value}' stands twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


RESOLVERS = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":timestamp", ":float"))]
    for first, resolvers in _FAST.yaml_implicit_resolvers.items()
}
"""What plain text may be other than text, by its first character."""
for _first in "-+0123456789.":
    RESOLVERS.setdefault(_first, []).append(("tag:yaml.org,2002:float", _FLOAT))
_Loader.yaml_implicit_resolvers = RESOLVERS

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
    refuse_way_out(path)
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
    except UnicodeDecodeError as error:
        raise InputError(f"text in UTF-8 is expected; byte {error.start} is none", where=short(path)) from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    _refuse_copies(text, path)
    try:
        content = yaml.load(text, Loader=_Loader)
    except RecursionError:
        raise InputError("exceeded maximum nesting depth", where=short(path)) from None
    except yaml.YAMLError as error:
        raise InputError(f"not plain YAML: {_problem(error)}", where=_place(path, error)) from None
    except ValueError as error:
        raise InputError(f"not plain YAML: {error}", where=short(path)) from None
    if content is None:
        content = {}
    if not isinstance(content, dict):
        raise InputError(f"a mapping is expected, got {type(content).__name__}", where=short(path))
    _refuse_no_text(text, content, path)
    _refuse_odd(content, "", 1, short(path), Limits())
    header = re.match(r"\ufeff?(?:\s*#[^\n]*\n)*?\s*#\s*@package\s+(\S+)", text)
    return ConfigFile(path, content, header.group(1) if header else None)


def _refuse_no_text(text: str, content: dict[Any, Any], path: Path) -> None:
    """Refuse names at the top that YAML reads as something else."""
    for i, name in enumerate(content):
        if not isinstance(name, str):
            line = yaml.compose(text, Loader=_Loader).value[i][0].start_mark.line + 1
            told = f"{name!r} is no name (YAML reads yes, no, on and off as true and false)"
            raise InputError(told, where=f"{short(path)}:{line}")


def _refuse_odd(content: Any, key: str, depth: int, where: str, limits: Limits) -> None:
    """Refuse what no configuration needs: text that steers a terminal, names without end, nesting without end."""
    if depth > limits["depth"]:
        raise InputError(f"nested deeper than {limits['depth']} levels (KDRUN_DEPTH sets the limit)", where=where)
    if isinstance(content, dict):
        for name, value in content.items():
            limits.refuse_beyond("name_length", len(str(name)), "characters of a name", where=where)
            _refuse_unseen(name, key, where)
            if not isinstance(name, str):
                told = "YAML reads yes, no, on and off as true and false" if isinstance(name, bool) else "quote it"
                raise InputError(f"a name is text, got {name!r} ({told})", key=key or None, where=where)
            if not name.strip() or "\n" in name:
                raise InputError(f"{name!r} is no name", key=key or None, where=where)
            _refuse_odd(value, f"{key}.{name}" if key else str(name), depth + 1, where, limits)
    elif isinstance(content, list):
        for i, value in enumerate(content):
            _refuse_odd(value, f"{key}.{i}", depth + 1, where, limits)
    elif isinstance(content, int):
        limits.refuse_long(content, key=key, where=where)
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
        raise InputError(f"not plain YAML: {_problem(error)}", where=_place(path, error)) from None


def _problem(error: yaml.YAMLError) -> str:
    """What is wrong, in a line."""
    return str(getattr(error, "problem", None) or error).split("\n", 1)[0]


def _place(path: Path, error: Any) -> str:
    mark = getattr(error, "problem_mark", None)
    return f"{short(path)}:{mark.line + 1}" if mark is not None else short(path)


def tree(path: Path) -> yaml.Node | None:
    """The file's tree of nodes, which know their lines; None if it cannot be read."""
    try:
        stat = path.stat()
    except OSError:
        return None
    if not S_ISREG(stat.st_mode):
        return None
    return _tree(path, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=256)
def _tree(path: Path, changed: int, size: int) -> yaml.Node | None:
    try:
        return yaml.compose(path.read_text(encoding="utf-8-sig"), Loader=_FAST)
    except (OSError, yaml.YAMLError, UnicodeDecodeError, RecursionError):
        return None


def short(path: Path) -> str:
    """The path from the working folder where it lies inside, else the whole."""
    try:
        return path.resolve().relative_to(Path.cwd()).as_posix()
    except ValueError:
        return str(path)
