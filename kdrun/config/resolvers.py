"""Interpolating ``${...}``: arithmetic and choice, nothing that reads the machine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from kdrun.config.hydra_state import own_resolvers
from kdrun.errors import InputError
from kdrun.limits import limit, refuse_beyond

__all__ = ["resolved"]


def resolved(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Interpolate every ``${...}``. Raises ``InputError`` naming the key of one that leads nowhere.

    OmegaConf reads the expressions and the settings that they name, not the rest.
    """
    texts: dict[str, str] = {}
    _collect(raw, "", texts)
    if not texts:
        return {str(name): content for name, content in raw.items()}
    distinct = list(dict.fromkeys(texts.values()))
    _refuse_growth(texts, raw)
    values = dict(zip(distinct, _evaluated(distinct, raw, list(texts.items())), strict=True))
    return {str(name): _filled(content, values) for name, content in raw.items()}


def _collect(content: Any, key: str, texts: dict[str, str]) -> None:
    if isinstance(content, str):
        if "${" in content:
            texts[key] = content
    elif isinstance(content, Mapping):
        for name, value in content.items():
            _collect(value, f"{key}.{name}" if key else str(name), texts)
    elif isinstance(content, list):
        for i, value in enumerate(content):
            _collect(value, f"{key}.{i}", texts)


def _evaluated(expressions: list[str], raw: Mapping[str, Any], places: list[tuple[str, str]]) -> list[Any]:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    named = {name for text in expressions for name in re.findall(r"[\w-]+", text)}
    settings = {name: content for name, content in raw.items() if name in named}
    try:
        with own_resolvers():
            root = OmegaConf.create({**settings, _VALUES: expressions})
            found = OmegaConf.to_container(root[_VALUES], resolve=True)
    except OmegaConfBaseException as error:
        place = re.search(rf"{re.escape(_VALUES)}\[(\d+)\]", str(getattr(error, "full_key", "")))
        text = expressions[int(place.group(1))] if place else None
        key = next((k for k, v in places if v == text), getattr(error, "full_key", None))
        raise InputError(str(error).split("\n", 1)[0], key=key) from None
    assert isinstance(found, list)
    return found


_VALUES = "(values)"


def _refuse_growth(texts: Mapping[str, str], raw: Mapping[str, Any]) -> None:
    """Refuse a value that would be too long with all that it names, before it is made."""
    sizes: dict[str, int] = {}

    def size(text: str, depth: int = 0) -> int:
        if text not in sizes:
            sizes[text] = len(text)  # meanwhile: what names itself is OmegaConf's to refuse
            inner = [_at(raw, name) for name in re.findall(r"\$\{([\w.-]+)\}", text)] if depth < limit("depth") else []
            sizes[text] = len(text) + sum(size(value, depth + 1) if isinstance(value, str) else 8 for value in inner)
        return sizes[text]

    for key, text in texts.items():
        refuse_beyond("text_length", size(text), "characters of a value with all that it names", key=key)


def _at(raw: Mapping[str, Any], name: str) -> Any:
    found: Any = raw
    for piece in name.split("."):
        found = found.get(piece) if isinstance(found, Mapping) else None
    return found


def _filled(content: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(content, str):
        return values[content] if "${" in content else content
    if isinstance(content, Mapping):
        return {name: _filled(value, values) for name, value in content.items()}
    return [_filled(value, values) for value in content] if isinstance(content, list) else content
