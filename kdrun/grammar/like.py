"""``like: NAME`` makes one thing a copy of another, merged with what is said beside it; ``skip`` leaves nodes out.

Copies are made when all layers have been laid, so that an override of the original reaches them. A node is like a node
of its own block, of a block around it, or like a setting at the top; a step is like a named step; models, scores and nodes
of a step are like their neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kdrun.errors import InputError, nearest
from kdrun.grammar.overlay import copied, entries, overlay
from kdrun.limits import Limits

__all__ = ["expand", "without"]

_UNREAD = ("arms", "scales", "claims", "paper", "notes")
"""Where ``like`` is not resolved here: arms are layers, the others hold text."""


def expand(config: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration with every ``like`` written out. Raises ``InputError`` for an unknown name or a circle."""
    return _Copies(config).all()


class _Copies:
    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config
        self.done: dict[int, Any] = {}
        self.open: list[str] = []
        self.limits, self.entries = Limits(), 0

    def all(self) -> dict[str, Any]:
        return {
            name: content if name in _UNREAD else self.value(content, [self.config], name)
            for name, content in self.config.items()
        }

    def value(self, content: Any, scopes: Sequence[Mapping[str, Any]], key: str) -> Any:
        if isinstance(content, list):
            return [self.value(item, scopes, f"{key}.{i}") for i, item in enumerate(content)]
        if not isinstance(content, dict):
            return content
        if id(content) not in self.done:
            self.done[id(content)] = self.mapping(content, scopes, key)
        return self.done[id(content)]

    def mapping(self, content: dict[str, Any], scopes: Sequence[Mapping[str, Any]], key: str) -> dict[str, Any]:
        base: dict[str, Any] = {}
        own = content
        if "like" in content and not isinstance(content["like"], Mapping):
            if key in self.open:
                raise InputError(f"these are like each other: {' -> '.join([*self.open, key])}", key=f"{key}.like")
            self.open.append(key)
            for name in content["like"] if isinstance(content["like"], list) else [content["like"]]:
                overlay(base, self.original(name, content, scopes, key))
            self.open.pop()
            own = {k: v for k, v in content.items() if k != "like"}
        inner = [content, *scopes] if _is_block(key) else scopes
        found = {k: self.value(v, self.scopes_for(k, base, inner), f"{key}.{k}") for k, v in own.items()}
        if not base:
            return found
        if isinstance(base.get("step"), str) and any(str(k).partition(".")[0] == "step" for k in own):
            named, said = base.pop("step"), own.get("step", {})
            if isinstance(said, dict) and "like" not in said:  # it builds on the named step that came with the copy
                base["step"] = self.original(named, None, self.scopes_for("step", base, scopes), key)
        overlay(base, found)
        return base

    def scopes_for(
        self, name: str, base: Mapping[str, Any], scopes: Sequence[Mapping[str, Any]]
    ) -> Sequence[Mapping[str, Any]]:
        """A step is like a named one; all else is like its neighbours, those that came with a copy among them."""
        if name == "step":
            return [self.config.get("steps") or {}]
        return [base[name], *scopes] if _is_block(name) and isinstance(base.get(name), dict) else scopes

    def original(self, name: Any, asking: Any, scopes: Sequence[Mapping[str, Any]], key: str) -> dict[str, Any]:
        if not isinstance(name, str):
            raise InputError(f"like names what it copies, got {name!r}", key=f"{key}.like")
        for depth, scope in enumerate(scopes):
            found = _found(scope, name)
            place = scope
            if found is None and scope is self.config:
                found, place = _found(self.config.get("graph") or {}, name), self.config.get("graph") or {}
            if (
                found is not None and found is not asking
            ):  # nothing is like itself: a block further out has the name, too
                if isinstance(found, str) and place is self.config.get("steps"):
                    return self.original(found, asking, scopes, key)
                if not isinstance(found, dict):
                    raise InputError(f"'{name}' is no mapping that something could be like", key=f"{key}.like")
                resolved = self.value(found, [place, *scopes[depth:]], _key_of(place, name, self.config, key))
                self.entries += entries(resolved)
                self.limits.refuse_beyond("copies", self.entries, "entries that like copies", key=f"{key}.like")
                return copied(resolved)  # type: ignore[no-any-return]
        known = [n for scope in scopes for n in scope]
        raise InputError(f"there is nothing called '{name}' to be like{nearest(name, known)}", key=f"{key}.like")


def _found(scope: Mapping[str, Any], name: str) -> Any:
    """The content of ``name`` in a block; ``loop.node`` is a node inside a loop."""
    if name in scope:
        return scope[name]
    first, _, rest = name.partition(".")
    inner = scope.get(first)
    if rest and isinstance(inner, Mapping):
        return _found(inner["do"] if isinstance(inner.get("do"), Mapping) else inner, rest)
    return None


def _key_of(place: Mapping[str, Any], name: str, config: Mapping[str, Any], key: str) -> str:
    if place is config:
        return name
    if place is config.get("graph"):
        return f"graph.{name}"
    if place is config.get("steps"):
        return f"steps.{name}"
    return f"{key.rpartition('.')[0]}.{name}"


def _is_block(key: str) -> bool:
    """Whether the entries of a mapping are neighbours that may be like each other."""
    return str(key).rpartition(".")[2] in ("graph", "do", "nodes", "models", "scores", "updates", "steps")


def without(graph: Mapping[str, Any], skipped: Sequence[str]) -> dict[str, Any]:
    """The graph without the nodes to skip. Raises ``InputError`` for a name that it has not."""
    for name in skipped:
        if name not in graph:
            raise InputError(f"skip names '{name}', which is no node{nearest(name, graph)}", key="skip")
    return {name: content for name, content in graph.items() if name not in skipped}
