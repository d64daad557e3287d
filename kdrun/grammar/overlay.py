"""How one mapping lies over another: dotted keys, nodes addressed inside loops, and parts that take another's place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["copied", "entries", "is_part", "overlay", "place"]

_VERBS = ("stage", "op", "call", "foreach", "model", "data", "optimizer")
_PARTS = ("optimizer", "schedule", "metric", "transform", "gradient", "space", "strategy", "sampler")


def is_part(content: Any) -> bool:
    """Whether a mapping names a part or a copy of something, whose keys are checked where it is read."""
    return isinstance(content, Mapping) and (
        "like" in content or any(isinstance(content.get(v), str) for v in (*_VERBS, *_PARTS))
    )


def place(config: Any, path: str, *, create: bool = False) -> tuple[dict[str, Any], str]:
    """The mapping that holds the end of ``path``, and the key there: as many dots as exist belong to the way."""
    if path in config:
        return config, path
    blocks = [config, *([config["do"]] if "foreach" in config and isinstance(config.get("do"), dict) else [])]
    if path in blocks[-1] or "." not in path:
        return (config if path in _LOOP_WORDS else blocks[-1]), path
    pieces = path.split(".")
    for block in blocks:
        for cut in range(len(pieces) - 1, 0, -1):
            name = ".".join(pieces[:cut])
            if name == "step" and isinstance(block.get(name), str):
                block[name] = {"like": block[name]}
            if isinstance(block.get(name), dict):
                return place(block[name], ".".join(pieces[cut:]), create=create)
    if create and config.get(pieces[0]) is None:
        config[pieces[0]] = {}
        return place(config[pieces[0]], ".".join(pieces[1:]), create=True)
    return config, path


_LOOP_WORDS = ("foreach", "do", "result", "like")
"""What a loop says of itself; any other key means a node inside it."""

_WIRES = ("from", "carry", "foreach", "result", "taps")
"""Mappings whose keys are names of the recipe's own, never verbs."""


def overlay(base: dict[str, Any], over: Mapping[str, Any], *, literal: bool = False) -> None:
    """Merge ``over`` into ``base``, in place; ``literal``: its keys are taken as they are."""
    for key, value in over.items():
        holder, leaf = (base, key) if literal or not isinstance(key, str) else place(base, key)
        old = holder.get(leaf)
        if leaf == "step" and isinstance(old, str) and isinstance(value, Mapping) and "like" not in value:
            old = holder[leaf] = {"like": old}
        if isinstance(value, Mapping) and isinstance(old, dict) and (leaf in _WIRES or not _another(old, value)):
            overlay(old, value)
        else:
            holder[leaf] = copied(value)


def _another(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether ``new`` names another part than ``old`` does, so that none of the old one's parameters is meant."""
    if any(word in old or word in new for word in ("minimize", "train", "nodes", "updates")) and "stage" not in new:
        return False
    verb, before = _verb(new), _verb(old)
    if "like" in new and "like" not in old and before is not None:
        return True
    if "like" in old and "like" not in new and verb is not None:
        return True
    if verb is not None and before is not None and verb != before:
        return True
    if (
        isinstance(new.get("by"), str)
        and isinstance(old.get("by"), str)
        and new["by"] != old["by"]
        and verb is not None
    ):
        return True
    words = [w for w in (*_VERBS, *_PARTS) if isinstance(new.get(w), str) and isinstance(old.get(w), str)]
    return any(new[w] != old[w] for w in words)


def _verb(content: Mapping[str, Any]) -> str | None:
    """The verb that a mapping names; a loop's node may be called as a verb is."""
    return next((v for v in _VERBS if isinstance(content.get(v), Mapping if v == "foreach" else str)), None)


def copied(value: Any) -> Any:
    """A copy of nested mappings and lists."""
    if isinstance(value, Mapping):
        return {k: copied(v) for k, v in value.items()}
    return [copied(v) for v in value] if isinstance(value, list) else value


def entries(content: Any) -> int:
    """How many values a mapping holds, at all levels."""
    if isinstance(content, Mapping | list):
        return 1 + sum(entries(item) for item in (content.values() if isinstance(content, Mapping) else content))
    return 1
