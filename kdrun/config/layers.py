"""Overrides and how one layer lies over another: one record and one parser for every place they come from.

A layer is a mapping over the ones before it. In it a key may be dotted (``unlearn.step.minimize``), a key with dots
that exists is one key, and a node of the graph is addressed by its own name. Mappings are merged, everything else takes the
place of what was there; so does a node or a part that names another one (``{op: constant}`` over ``{stage: select}``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kdrun.config.messages import unreadable
from kdrun.config.readable import readable
from kdrun.errors import InputError, nearest
from kdrun.grammar.overlay import copied, is_part, overlay, place
from kdrun.limits import Limits

__all__ = ["COMMAND_LINE", "Override", "addressed", "apply", "parse_text", "records"]

COMMAND_LINE = "command line"

_WORDS = ("results", "notes", "leaderboard", "seeds", "tune", "transductive")
"""What a recipe may say that no file says before it."""

_OPEN = ("graph", "steps", "arms", "scales", "claims", "paper", "tune")
"""Mappings whose content is checked where it is read, not against what was there before."""


@dataclass(frozen=True)
class Override:
    """One change: a dotted ``path``, the ``value`` it gets, Hydra's ``sign`` and the layer it comes from.

    ``key`` is where it stands in the recipe (``arms.gd.epochs``), or its text if the user said it, at the ``origin``.
    """

    path: str
    value: Any
    sign: str = ""
    layer: str = COMMAND_LINE
    key: str = ""
    origin: str = COMMAND_LINE

    @property
    def first(self) -> str:
        return self.path.partition(".")[0]

    def within(self, name: str) -> bool:
        """Whether the change lies at or under the top-level key ``name``."""
        return self.path == name or self.path.startswith(f"{name}.")

    def beside(self, other: Override) -> bool:
        """Whether both stand in one layer: of these, none is said before the other."""
        places = {o.key.removesuffix(o.path) for o in (self, other) if o.layer != COMMAND_LINE}
        return self.layer == other.layer and len(places) <= 1


def records(content: Mapping[str, Any], layer: str, key: str) -> Iterator[Override]:
    """The overrides that a mapping under ``key`` stands for, one for each of its keys."""
    if not isinstance(content, Mapping):
        raise InputError(f"{layer} is a mapping of what it changes, got {content!r}", key=key)
    for path, value in content.items():
        if not isinstance(path, str):
            raise InputError(f"{path!r} is no name (YAML reads yes, no, on and off as true and false)", key=key)
        if path == "graph" and isinstance(value, Mapping):
            for name, node in value.items():
                yield Override(f"graph.{name}", node, layer=layer, key=f"{key}.graph.{name}")
        else:
            yield Override(path, value, layer=layer, key=f"{key}.{path}")


def parse_text(texts: Sequence[str], origin: str = COMMAND_LINE) -> list[Override]:
    """Read what the user says, in Hydra's grammar. Raises ``InputError`` for what cannot be read."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser = OverridesParser.create()
    found = []
    for text in texts:
        try:
            parsed = parser.parse_override(readable(text))
        except HydraException:
            raise InputError(unreadable(text)) from None
        if not parsed.key_or_group:
            raise InputError(f"'{text}' names no setting: write key=value")
        if parsed.package is not None:
            raise InputError(f"'{text}' names a package: an option goes to its own group")
        if parsed.is_sweep_override():
            raise InputError(f"'{text}' stands for several values: kdrun run -m runs each; write [a,b] for a list")
        found.append(Override(parsed.key_or_group, _value(parsed), _sign(parsed), key=text, origin=origin))
    return found


def _sign(parsed: Any) -> str:
    if parsed.is_delete():
        return "~"
    if parsed.is_force_add():
        return "++"
    return "+" if parsed.is_add() else ""


def _value(parsed: Any) -> Any:
    from omegaconf import OmegaConf

    value = parsed.value()
    return OmegaConf.to_container(value, resolve=False) if OmegaConf.is_config(value) else _plain(value)


def _plain(value: Any) -> Any:
    """Quoted text as text, inside lists and mappings, too."""
    if isinstance(value, dict):
        return {str(_plain(k)): _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, int):
        Limits().refuse_long(value)
    return value.text if hasattr(value, "text") and hasattr(value, "quote") else value


def apply(config: dict[str, Any], override: Override) -> None:
    """Lay one override over ``config``, in place.

    Raises ``InputError`` for a key that nothing has, and for keys that only the command line may set.
    """
    path = addressed(config, override)
    if override.sign == "~":
        holder, leaf = place(config, path)
        if leaf not in holder:
            raise _unknown(config, override.path, path)
        del holder[leaf]
        return
    if path == "skip":
        config["skip"] = [*config.get("skip", []), *_names(override)]
        return
    if _set_in_list(config, path, override.value):
        return
    _refuse_unknown(config, override, path)
    holder, leaf = place(config, path, create="+" in override.sign)
    overlay(holder, {leaf: override.value}, literal=True)


def _set_in_list(config: dict[str, Any], path: str, value: Any) -> bool:
    """Set ``metrics.0`` or ``metrics.0.name``, where an entry of a list is meant that is there."""
    for match in re.finditer(r"\.(\d+)(?:\.|$)", path):
        holder, leaf = place(config, path[: match.start()])
        index, rest = int(match.group(1)), path[match.end() :]
        entries = holder.get(leaf)
        if not isinstance(entries, list) or index >= len(entries) or (rest and not isinstance(entries[index], dict)):
            continue
        if rest:
            apply(entries[index], Override(rest, value, "++"))
        else:
            entries[index] = copied(value)
        return True
    return False


def _names(override: Override) -> list[str]:
    value = override.value
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise InputError(f"skip lists nodes, got {value!r}", key=override.key)
    return value


def addressed(config: Mapping[str, Any], override: Override) -> str:
    """The path from the top: a node's own name stands for its place in the graph."""
    first, graph = override.first, config.get("graph") or {}
    known, node = first in config, first in graph
    if known and node and not isinstance(config[first], str):
        raise InputError(
            f"'{first}' is a node and a setting: write graph.{first}... for the node", key=override.key or override.path
        )
    if known or first == "skip":
        return override.path
    if node:
        return f"graph.{override.path}"
    value = override.value
    if override.path == first and isinstance(value, Mapping):
        if any(verb in value for verb in ("stage", "op", "foreach")) or _copies_node(value, graph):
            return f"graph.{first}"
    return override.path


def _copies_node(value: Mapping[str, Any], graph: Mapping[str, Any]) -> bool:
    like = value.get("like") or []
    names = [like] if isinstance(like, str) else like
    return bool(names) and all(name in graph for name in names)


def _refuse_unknown(config: dict[str, Any], override: Override, path: str) -> None:
    """A key must exist, save under what is checked where it is read: nodes and parts know their own keys."""
    first = path.partition(".")[0]
    value = override.value
    if path in _WORDS or override.sign or first in _OPEN or is_part(config.get(first)):
        return
    if path == first and isinstance(value, Mapping) and is_part(value):
        return  # a new source
    holder, leaf = place(config, path)
    if leaf not in holder:
        raise _unknown(config, override.path, path)
    old = holder[leaf]
    if isinstance(value, Mapping) and isinstance(old, Mapping) and not is_part(old) and not is_part(value):
        for key in value:
            inner, last = place(old, str(key))
            if last not in inner and old and not is_part(inner):
                raise _unknown(config, f"{override.path}.{key}", f"{path}.{key}")


def _unknown(config: Mapping[str, Any], written: str, path: str) -> InputError:
    holder, leaf = place(config, path)
    if holder is config:
        from kdrun.config.paths import groups

        known = [*config, *(config.get("graph") or {}), *groups()]
        first = written.partition(".")[0]
        return InputError(f"'{first}' is no group, node or setting here{nearest(first, known)}", key=written)
    known = [str(name) for name in holder]
    parent = written[: -len(leaf) - 1]
    return InputError(f"'{parent}' has no key '{leaf}'{nearest(leaf, known)}; it has: {', '.join(known)}", key=written)
