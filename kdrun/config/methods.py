"""The methods of the protocols: what each does, when to use it, and what it reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdrun.config.files import read
from kdrun.config.paths import group_options
from kdrun.config.places import refuse_way_out
from kdrun.errors import InputError

__all__ = ["Method", "comments", "methods"]


@dataclass(frozen=True)
class Method:
    """A method ``protocol/name``: its comment, when to use it, and the splits, columns and taps that it reads."""

    name: str
    says: str
    use: str
    splits: tuple[str, ...]
    columns: tuple[str, ...]
    taps: tuple[str, ...]

    @property
    def protocol(self) -> str:
        return self.name.partition("/")[0]

    @property
    def reads(self) -> str:
        """``reads data.forget, data.retain; columns tokens, target; taps map``."""
        pieces = [", ".join(self.splits), *(f"{k} {', '.join(v)}" for k, v in self._named() if v)]
        return f"reads {'; '.join(p for p in pieces if p)}" if any(pieces) else ""

    def _named(self) -> list[tuple[str, tuple[str, ...]]]:
        return [("columns", self.columns), ("taps", self.taps)]


def methods(protocol: str | None = None) -> Iterator[Method]:
    """All methods, or those of one protocol, by name."""
    options = group_options("transfer")
    for name, path in options.items():
        if protocol is None or name.startswith(f"{protocol}/"):
            says, use = comments(path)
            read_: dict[str, set[str]] = {"data": set(), "batch": set(), "taps": set()}
            try:
                for content in _chain(name, options):
                    _collect(content, read_)
            except InputError as error:
                says = f"cannot be read: {error}"
            splits = tuple(sorted(f"data.{s}" for s in read_["data"]))
            yield Method(name, says, use, splits, tuple(sorted(read_["batch"])), tuple(sorted(read_["taps"])))


def comments(path: Path) -> tuple[str, str]:
    """The first comment of a file and the one that starts with ``use:``; why it cannot be read, if it cannot."""
    try:
        refuse_way_out(path)
    except InputError as error:
        return f"cannot be read: {error}", ""
    if not path.is_file():
        return "cannot be read: a file is expected, and this is a folder or a device", ""
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    lines = [line[1:].strip() for line in text.splitlines() if line.startswith("#")]
    lines = [line for line in lines if not line.startswith("@package")]
    use = next((line.removeprefix("use:").strip() for line in lines if line.startswith("use:")), "")
    return next((line for line in lines if not line.startswith("use:")), ""), use


def _chain(name: str, options: Mapping[str, Path], seen: tuple[str, ...] = ()) -> Iterator[dict[str, Any]]:
    """The contents of a method, of those that it builds on, and of its protocol. Raises ``InputError`` for a circle."""
    if name in seen:
        raise InputError(f"these build on each other: {' -> '.join([*seen, name])}")
    content = read(options[name]).content
    bases = content.get("defaults")
    for base in bases if isinstance(bases, list) else []:
        if isinstance(base, str) and base in options:
            yield from _chain(base, options, (*seen, name))
    yield content
    protocol = group_options("protocol").get(name.partition("/")[0])
    if protocol is not None:
        yield read(protocol).content


def _collect(content: Any, found: dict[str, set[str]]) -> None:
    if isinstance(content, Mapping):
        for key, value in content.items():
            if key == "from":
                for ref in _refs(value):
                    head, _, field = ref.partition(".")
                    if field and head in ("data", "batch"):
                        found[head].add(field.partition(".")[0])
            elif key == "taps" and isinstance(value, Mapping):
                found["taps"] |= {str(v) for v in value.values() if isinstance(v, str) and "${" not in v}
            else:
                _collect(value, found)
    elif isinstance(content, list):
        for value in content:
            _collect(value, found)


def _refs(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _refs(inner)
