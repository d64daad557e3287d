"""What of a configuration names files, folders and pretrained things to read, as the signatures of parts declare it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kdrun.config.places import lies_open, target
from kdrun.grammar.each import copies
from kdrun.registry import KINDS, Part, catalog

__all__ = ["Read", "reads"]


@dataclass(frozen=True)
class Read:
    """A text that names what is read, the key it stands at, and whether it may be an entry of a hub."""

    key: str
    text: str
    pretrained: bool = False

    def lies_open(self, beside: Any = ()) -> bool:
        """Whether anybody may name it: it lies in the working folder, or is no path at all."""
        found = target(self.text)
        if self.pretrained and not _is_path(self.text) and not (found is not None and found.exists()):
            return True
        return lies_open(found, beside)


def _is_path(text: str) -> bool:
    return text.startswith(("/", "~", ".")) or "\\" in text or ":" in text or ".." in text.split("/")


def reads(content: Any, key: str = "") -> Iterator[Read]:
    """All that a configuration, or a part of one, names to read, those of models and data inside others included."""
    if isinstance(content, list):
        for i, value in enumerate(content):
            yield from reads(value, f"{key}.{i}")
    elif isinstance(content, Mapping):
        if isinstance(content.get("each"), list) and content["each"]:
            for _, copy in copies(content, key=key):
                yield from reads(copy, key)
        for part in _parts(content):
            yield from _own(part, content, key)
        if isinstance(content.get("choices"), Mapping):
            yield from _chosen(content, key)
        for name, value in content.items():
            if isinstance(value, Mapping | list):
                yield from reads(value, f"{key}.{name}" if key else str(name))


def _parts(content: Mapping[str, Any]) -> Iterator[Part]:
    """The parts that a mapping names by a word of its own."""
    named = [(kind, content[kind]) for kind in KINDS if isinstance(content.get(kind), str)]
    if isinstance(content.get("stage"), str) and isinstance(content.get("by"), str):
        named.append((content["stage"], content["by"]))
    for kind, name in named:
        part = catalog().find(kind, name)
        if part is not None:
            yield part


def _own(part: Part, content: Mapping[str, Any], key: str) -> Iterator[Read]:
    before = f"{key}." if key else ""
    for name, parameter in part.parameters.items():
        if parameter.reads:
            for text in _texts(content.get(name)):
                yield Read(f"{before}{name}", text, parameter.reads == "PretrainedName")
    if part.kind == "model":
        weights = content.get("weights")
        inside = isinstance(weights, Mapping)
        for text in _texts(weights.get("path") if isinstance(weights, Mapping) else weights):
            yield Read(f"{before}weights{'.path' if inside else ''}", text)


def _chosen(content: Mapping[str, Any], key: str) -> Iterator[Read]:
    """A space chooses parameters of a model, and may choose the model: each choice is what one of them could say."""
    base = content.get("model")
    model = base.get("model") if isinstance(base, Mapping) else base
    for name in [model, *_texts(content["choices"].get("model"))]:
        for parameter, values in content["choices"].items():
            for text in _texts(values):
                yield from reads({"model": name, str(parameter): text}, f"{key}.choices")


def _texts(value: Any) -> Iterator[str]:
    """The texts in a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(inner)
