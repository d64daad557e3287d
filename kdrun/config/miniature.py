"""What a scale leaves as the recipe's miniature has it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kdrun.config.compose import Composer
from kdrun.config.experiment import Experiment
from kdrun.config.files import read
from kdrun.config.layers import COMMAND_LINE
from kdrun.config.locate import locate

__all__ = ["still_small"]

_NO_VALUE = (
    "defaults",
    "paper",
    "notes",
    "arms",
    "scales",
    "claims",
    "objective",
    "seed",
    "seeds",
    "leaderboard",
    "skip",
    "results",
)
_WIRING = (
    "from",
    "stage",
    "by",
    "op",
    "call",
    "metrics",
    "metric",
    "foreach",
    "result",
    "like",
    "taps",
    "nodes",
    "columns",
)
_NAMES = ("step", "of")
"""Wiring where they name something, and not where they are mappings."""


def still_small(composer: Composer, arm: str | None, scale: str) -> list[tuple[str, Any, str]]:
    """The values (numbers, text, lists; no wiring) that the recipe itself sets and that ``scale`` does not.

    Key, value and ``file:line`` of each. Options that the recipe's defaults list chooses are values, too.
    """
    small, large = composer.layered(arm, None), composer.layered(arm, scale)
    content = read(composer.recipe.path).content
    source = ((composer.recipe.path, ""),)
    found = [
        (group, option, locate("defaults", source) or "")
        for group in ("teacher", "student", "data", "optimizer")
        for option in [small.choices.get(group)]
        if _chosen(content, group) and large.choices.get(group) == option and not _users_own(composer, group)
    ]
    for path, package in small.sources:
        own = path == composer.recipe.path
        if own or path.parent.name in ("protocol", small.choices.get("protocol")):
            rows = _leaves({k: v for k, v in read(path).content.items() if k not in _NO_VALUE}, ())
            left = [(key, value) for key, value in rows if own or key[-1] in _LENGTHS]
            found += [
                (".".join(key), value, locate(".".join(key), ((path, package),)) or "")
                for key, value in left
                if _at(small.config, key) == value and _left_as_is(large, key, value)
            ]
    return found


_LENGTHS = ("steps", "epochs", "batch_size")
"""What counts as the miniature's in a protocol or a method, whose other values are the published ones."""


def _left_as_is(large: Experiment, key: tuple[str, ...], value: Any) -> bool:
    if key[0] == "graph" and {*key[1:2]} & {*(large.config.get("skip") or [])}:
        return False
    changed = any(o.layer != COMMAND_LINE and _touches(o.path, key) for o in large.overrides)
    return not changed and _at(large.config, key) == value


def _users_own(composer: Composer, group: str) -> bool:
    return any(override.path == group for override in composer.overrides)


def _chosen(content: Mapping[str, Any], group: str) -> bool:
    entries = [e for e in content.get("defaults") or [] if isinstance(e, dict)]
    return any(str(name).split()[-1].lstrip("/") == group for e in entries for name in e)


def _leaves(content: Any, key: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(content, Mapping):
        for name, value in content.items():
            if name not in _WIRING:
                yield from _leaves(value, (*key, str(name)))
    elif key[-1] not in _NAMES and not (isinstance(content, str) and "${" in content):
        yield key, content


def _touches(path: str, key: tuple[str, ...]) -> bool:
    name = ".".join(key).removeprefix("graph.")
    path = path.removeprefix("graph.")
    return name == path or name.startswith(f"{path}.")


class _Nothing:
    pass


_NOTHING = _Nothing()


def _at(config: Any, key: tuple[str, ...]) -> Any:
    for name in key:
        if not isinstance(config, Mapping) or name not in config:
            return _NOTHING
        config = config[name]
    return config
