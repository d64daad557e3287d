"""One rule for names: of nodes, steps, updates, models, loop items, arms, scales and claims."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from kdrun.errors import InputError

__all__ = ["check_name", "check_names"]

_NAME = re.compile(r"\w(?:[\w+-]*\w)?")

BLOCKS = ("do", "nodes", "models", "updates", "scores")
"""What of a node or a step holds named things."""


def check_name(name: Any, *, key: str) -> None:
    """Raise ``InputError`` for what is no name: letters and digits of any alphabet, ``_``, and inside ``-`` and ``+``."""
    if not isinstance(name, str):
        raise InputError(f"a name is text, got {name!r} (quote it: YAML reads it as something else)", key=key)
    if not _NAME.fullmatch(name):
        raise InputError(f"{name!a} is no name: a name has letters, digits and '_', and '-' or '+' inside", key=key)


def check_names(config: Mapping[str, Any]) -> None:
    """Check the names of a whole configuration. Raises ``InputError`` with the key of the first that is none."""
    for section in ("arms", "scales", "claims", "graph", "steps"):
        for name in config.get(section) or {}:
            check_name(name, key=section)
    for section in ("graph", "steps"):
        for name, content in (config.get(section) or {}).items():
            for inner, key in _inner(content, f"{section}.{name}"):
                check_name(inner, key=key)


def _inner(content: Any, key: str) -> Iterator[tuple[Any, str]]:
    """The names inside a node or a step, at all levels, each with the place where it stands."""
    if not isinstance(content, Mapping):
        return
    for word, value in content.items():
        if word == "foreach" and isinstance(value, Mapping):
            yield from ((name, f"{key}.foreach") for name in value)
            for items in value.values():
                yield from ((name, f"{key}.foreach") for name in (items if isinstance(items, Mapping) else ()))
        elif word in BLOCKS and isinstance(value, Mapping):
            for name, one in value.items():
                yield name, f"{key}.{word}"
                yield from _inner(one, f"{key}.{word}.{name}")
        elif word in ("step", "score"):
            yield from _inner(value, f"{key}.{word}")
