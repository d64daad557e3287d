"""Computing ``${...}``: names of settings, arithmetic and choice, nothing that reads the machine.

Every value is computed once and measured when it is made, so that values that name each other twice over and over take no
longer than others: what would be too long is refused before it is there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from kdrun.config.arithmetic import FUNCTIONS
from kdrun.errors import InputError, nearest
from kdrun.limits import Limits

__all__ = ["resolved"]

_NAMED = re.compile(r"\$\{\s*([\w-]+(?:\.[\w-]+)*)\s*\}")
"""A name that needs no grammar to be read."""


def resolved(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Compute every ``${...}``. Raises ``InputError`` naming the key of one that leads nowhere, in a circle or beyond a limit."""
    places: dict[str, str] = {}
    _collect(raw, "", places)
    if not places:
        return {str(name): content for name, content in raw.items()}
    values = _Values(raw, places)
    try:
        return {str(name): values.filled(content, str(name)) for name, content in raw.items()}
    except RecursionError:
        raise InputError("values that name each other are nested too deeply to be computed") from None


def _collect(content: Any, key: str, places: dict[str, str]) -> None:
    """The texts to compute, each with the key where it stands first."""
    if isinstance(content, str):
        if "${" in content:
            places.setdefault(content, key)
    elif isinstance(content, Mapping):
        for name, value in content.items():
            _collect(value, f"{key}.{name}" if key else str(name), places)
    elif isinstance(content, list):
        for i, value in enumerate(content):
            _collect(value, f"{key}.{i}", places)


class _Size(NamedTuple):
    """Characters of a value as it would be written, and its levels."""

    characters: int
    depth: int


class _Values:
    """The values of one configuration. ``places``: where each text to compute stands."""

    def __init__(self, raw: Mapping[str, Any], places: Mapping[str, str]) -> None:
        self.raw, self.places, self.limits = raw, places, Limits()
        self.computed: dict[str, Any] = {}
        self.copies: dict[int, Any] = {}
        self.sizes: dict[int, tuple[Any, _Size]] = {}
        self.open: list[str] = []
        self.read = self.total = 0

    def filled(self, content: Any, key: str) -> Any:
        """The content of a top-level key with all that is computed in it. What all of them are is counted."""
        found = self.copy(content)
        self.total += self.size(found).characters
        self.limits.refuse_beyond("resolved_length", self.total, "characters of all computed values", key=key)
        self.limits.refuse_beyond("depth", self.size(found).depth, "levels of a value with all that it names", key=key)
        return found

    def copy(self, content: Any) -> Any:
        """The content with computed values; one that several name is there once."""
        if isinstance(content, str):
            return self.value(content) if "${" in content else content
        if not isinstance(content, Mapping | list):
            return content
        if id(content) not in self.copies:
            if isinstance(content, Mapping):
                made: Any = {name: self.copy(value) for name, value in content.items()}
            else:
                made = [self.copy(value) for value in content]
            self.copies[id(content)] = made
        return self.copies[id(content)]

    def size(self, value: Any) -> _Size:
        """How large a value would be, written out with all that it holds."""
        if isinstance(value, str):
            return _Size(len(value) + 1, 1)
        if isinstance(value, int):
            self.limits.refuse_long(value)
        if not isinstance(value, Mapping | list):
            return _Size(8, 1)
        if id(value) not in self.sizes:
            names = sum(len(str(name)) for name in value) if isinstance(value, Mapping) else 0
            inner = [self.size(item) for item in (value.values() if isinstance(value, Mapping) else value)]
            characters = 2 + names + sum(item.characters for item in inner)
            found = _Size(characters, 1 + max((item.depth for item in inner), default=0))
            self.sizes[id(value)] = (value, found)  # which stays, so that no other value has its id
        return self.sizes[id(value)][1]

    def value(self, text: str) -> Any:
        """What a text with ``${...}`` in it stands for."""
        if text in self.computed:
            return self.computed[text]
        if text in self.open:
            circle = [self.places.get(one, one) for one in [*self.open[self.open.index(text) :], text]]
            raise InputError(f"these name each other: {' -> '.join(circle)}", key=circle[0])
        self.open.append(text)
        try:
            self.limits.refuse_beyond("depth", len(self.open), "values, each named by the one before,")
            if re.search(r"\\\$\{|\$\{[^}]*\\", text):
                raise InputError("no backslash stands before or inside ${...}")
            found = self.named(text) if "${" not in _NAMED.sub("", text) else self.parsed(text)
            self.counted(found)
            if isinstance(found, str) and "${" in found:
                raise InputError("what is computed cannot make another ${...}")
        except InputError as error:
            error.key = error.key or self.places.get(text)
            raise
        self.open.pop()
        self.computed[text] = found
        return found

    def counted(self, *values: Any) -> None:
        count = sum(self.size(value).characters for value in values)
        self.limits.refuse_beyond("text_length", count, "characters of a value with all that it names")

    def named(self, text: str) -> Any:
        """A text that holds plain names alone: their values inside it, or the one value that it is."""
        whole = _NAMED.fullmatch(text)
        if whole:
            return self.at(whole.group(1).split("."))
        return "".join(self.pieces(text))

    def pieces(self, text: str) -> Iterator[str]:
        done = count = 0
        for found in _NAMED.finditer(text):
            value = self.at(found.group(1).split("."))
            if isinstance(value, Mapping | list):
                raise InputError(f"{found.group()} is a {_kind(value)}, which cannot stand inside a text")
            count += self.size(value).characters
            self.limits.refuse_beyond("text_length", count, "characters of a value with all that it names")
            yield text[done : found.start()]
            yield str(value)
            done = found.end()
        yield text[done:]

    def at(self, path: list[str]) -> Any:
        """The value that a path from the top leads to."""
        found: Any = self.raw
        for i, piece in enumerate(path):
            if isinstance(found, str) and "${" in found:
                found = self.value(found)
            if isinstance(found, Mapping) and piece in found:
                found = found[piece]
            elif isinstance(found, list) and piece.isdecimal() and int(piece[:9]) < len(found):
                found = found[int(piece[:9])]
            else:
                known = [str(name) for name in found] if isinstance(found, Mapping) else []
                before = f" in '{'.'.join(path[:i])}'" if i else ""
                raise InputError(f"${{{'.'.join(path)}}}: there is no '{piece}'{before}{nearest(piece, known)}")
        return self.copy(found)

    def parsed(self, text: str) -> Any:
        """A text with more than plain names, read by OmegaConf's grammar. All that it names is counted as it is named."""
        from omegaconf.errors import OmegaConfBaseException
        from omegaconf.grammar_parser import parse
        from omegaconf.grammar_visitor import GrammarVisitor

        self.read += len(text)
        self.limits.refuse_beyond("expressions", self.read, "characters of computed expressions")
        seen: list[Any] = []

        def name(path: Any, memo: Any = None) -> Any:
            seen.append(
                self.at(_pieces_of(getattr(path, "raw", path)))
            )  # OmegaConf 2.4.1 hands over a key, with the text in it
            self.counted(*seen)
            return seen[-1]

        def function(name: str, args: tuple[Any, ...], args_str: tuple[str, ...]) -> Any:
            seen.append(_called(name, args))
            self.counted(*seen)
            return seen[-1]

        try:
            return GrammarVisitor(name, function, None).visit(parse(text))
        except RecursionError:
            raise InputError("${...} is nested too deeply to be read") from None
        except (OmegaConfBaseException, ValueError) as error:
            raise InputError(f"cannot be read: {str(error).splitlines()[0]}") from None


def _pieces_of(path: str) -> list[str]:
    """``a.b``, ``a[b]`` or ``a[0].b`` as its pieces."""
    if path.startswith("."):
        raise InputError(f"${{{path}}}: a name starts at the top, as ${{optimizer.lr}} does")
    return [piece for piece in re.split(r"[.\[\]]+", path) if piece]


def _called(name: str, args: tuple[Any, ...]) -> Any:
    function: Callable[..., Any] | None = FUNCTIONS.get(name)
    if function is None:
        raise InputError(
            f"${{{name}:...}}: there is no such function{nearest(name, FUNCTIONS)}; there are: {', '.join(FUNCTIONS)}"
        )
    try:
        return function(*args)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise InputError(f"${{{name}:...}}: {error}") from None


def _kind(value: Any) -> str:
    return "list" if isinstance(value, list) else "mapping"
