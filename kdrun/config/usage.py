"""Which recipes, methods and options name a part, and an example of each: read from the files as they are written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdrun.config.files import read
from kdrun.config.paths import conf_dir, group_options, groups, recipe_files
from kdrun.errors import InputError
from kdrun.registry import BY_KINDS, KINDS

__all__ = ["Source", "Usage", "usage"]

_WIRES = ("from", "carry", "result", "taps", "paper", "notes", "claims", "defaults")
"""Keys whose content names nodes, or is text: no part is named there."""

_LISTS = {"metrics": "metric", "augment": "transform"}
"""Keys under which a bare string in a list names a part."""


@dataclass(frozen=True)
class Source:
    """A recipe (``group`` is ``recipes``) or an option of a group, and its file."""

    group: str
    name: str
    path: Path


@dataclass(frozen=True)
class Usage:
    """Where parts and options are named. ``named``: (kind, name) → files; ``chosen``: (group, option) → files."""

    named: Mapping[tuple[str, str], tuple[Source, ...]]
    chosen: Mapping[tuple[str, str], tuple[Source, ...]]

    def of_part(self, kind: str, name: str) -> tuple[Source, ...]:
        """The files that name a part themselves."""
        return self.named.get((kind, name), ())

    def of_option(self, group: str, option: str) -> tuple[Source, ...]:
        """The files that choose an option: in their defaults list, as an arm or in a scale."""
        return self.chosen.get((group, option), ())

    def reached(self, sources: tuple[Source, ...]) -> tuple[Source, ...]:
        """These files and all that choose them, directly or through others."""
        found = dict.fromkeys(sources)
        todo = list(sources)
        while todo:
            source = todo.pop()
            for user in self.of_option(source.group, source.name):
                if user not in found:
                    found[user] = None
                    todo.append(user)
        return tuple(found)

    def example(self, kind: str, name: str) -> tuple[str, dict[str, Any], Source] | None:
        """A node that names a part: its name in the file ('' in a list), its content, and the file.

        Methods are preferred to other options and these to recipes, then short nodes with many parameters.
        """
        found = [
            (key, content, source)
            for source in self.of_part(kind, name)
            for key, content in _mappings(read(source.path).content, "")
            if (kind, name) in set(_own_parts(content)) and _whole(content)
        ]
        return min(found, key=_clumsiness, default=None)


def _whole(content: Mapping[str, Any]) -> bool:
    """Whether a mapping names a part by a verb: a layer that only says other metrics does not."""
    return not any(word in content for word in _LISTS) or "stage" in content or "data" in content


def _clumsiness(found: tuple[str, dict[str, Any], Source]) -> tuple[Any, ...]:
    key, content, source = found
    order = {"transfer": 0, "recipes": 2}.get(source.group, 1)
    return len(str(content)) > 110, order, "." in key, -len(content), source.name, key


def usage() -> Usage:
    """Read all recipes and options; a file that cannot be read is left out."""
    primary = [entry for entry in read(conf_dir() / "config.yaml").content["defaults"] if isinstance(entry, Mapping)]
    names = _Names(frozenset(groups()), frozenset(group_options("transfer")), primary)
    sources = [Source("recipes", r.name, r.path) for r in recipe_files()]
    sources += [
        Source(group, name, path) for group in sorted(names.groups) for name, path in group_options(group).items()
    ]
    named: dict[tuple[str, str], dict[Source, None]] = {}
    chosen: dict[tuple[str, str], dict[Source, None]] = {}
    for source in sources:
        try:
            content = read(source.path).content
        except InputError:
            continue
        for part in _parts(content):
            named.setdefault(part, {})[source] = None
        for option in _options(source, content, names):
            chosen.setdefault(option, {})[source] = None
    return Usage({k: tuple(v) for k, v in named.items()}, {k: tuple(v) for k, v in chosen.items()})


def _mappings(content: Any, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every mapping in a file with the key that it stands at, except layers, which choose options."""
    if isinstance(content, Mapping):
        yield key, dict(content)
        for name, value in content.items():
            if name in ("arms", "scales") and isinstance(value, Mapping):
                for layer in _layers(value):
                    for inner, below in layer.items():
                        yield from _mappings(below, str(inner))
            elif name not in _WIRES:
                yield from _mappings(value, str(name))
    elif isinstance(content, list):
        for value in content:
            yield from _mappings(value, "")


def _layers(block: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The mappings of arms, of scales, and of a scale's own words for its arms."""
    for layer in block.values():
        if isinstance(layer, Mapping):
            inner = layer.get("arms")
            yield {k: v for k, v in layer.items() if k != "arms" or not isinstance(inner, Mapping)}
            if isinstance(inner, Mapping):
                yield from _layers(inner)


def _own_parts(content: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The parts that a mapping names by its own keys."""
    for key, value in content.items():
        word = str(key).rpartition(".")[2]
        if word in KINDS and isinstance(value, str):
            yield word, value
        elif word == "by" and isinstance(value, str):
            stage = content.get("stage")
            yield from ((kind, value) for kind in BY_KINDS if stage in (kind, None))
        elif word in _LISTS and isinstance(value, list):
            yield from ((_LISTS[word], item) for item in value if isinstance(item, str))


def _parts(content: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for _, mapping in _mappings(content, ""):
        yield from _own_parts(mapping)


@dataclass(frozen=True)
class _Names:
    """The names of groups, those of methods with their protocols, and what a recipe has that chooses nothing."""

    groups: frozenset[str]
    methods: frozenset[str]
    primary: Sequence[Mapping[str, Any]]

    def choices(self, layer: Mapping[str, Any], protocol: str) -> Iterator[tuple[str, str]]:
        """The options that an arm or a scale chooses; a method may be named without its protocol."""
        for group, option in layer.items():
            if group in self.groups and isinstance(option, str):
                full = f"{protocol}/{option}"
                yield group, full if group == "transfer" and full in self.methods else option


def _options(source: Source, content: Mapping[str, Any], names: _Names) -> Iterator[tuple[str, str]]:
    """The options that a file chooses in its defaults list, its arms and its scales."""
    said = content.get("defaults")
    entries = said if isinstance(said, list) else []  # another shape is told of where the file is used
    for entry in entries:
        if isinstance(entry, str):
            group, _, option = entry.lstrip("/").partition("/") if entry.startswith("/") else (source.group, "", entry)
            yield group, option
    chosen = _listed(names.primary) if source.group == "recipes" else {}
    chosen.update(_listed([entry for entry in entries if isinstance(entry, Mapping)]))
    for group, options in chosen.items():
        yield from ((group, option) for option in options)
    protocol = next(iter(chosen.get("protocol", [])), source.name.partition("/")[0])
    for block in (content.get("arms"), content.get("scales")):
        for layer in _layers(block) if isinstance(block, Mapping) else ():
            yield from names.choices(layer, protocol)


def _listed(entries: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """``[{override /data: digits}]`` as ``{data: [digits]}``; the last entry of a group counts, null chooses nothing."""
    found = {}
    for key, option in (item for entry in entries for item in entry.items()):
        options = option if isinstance(option, list) else [option]
        found[str(key).removeprefix("override").strip().lstrip("/")] = [o for o in options if isinstance(o, str)]
    return found
