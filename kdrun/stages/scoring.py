"""Metrics of a step graph's nodes: what each reads, and its columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kdrun.errors import InputError
from kdrun.grammar.nodes import Ref, parse_inputs
from kdrun.registry import catalog
from kdrun.registry.signature import Part

__all__ = ["NodeMetric", "bound_inputs", "named_scores"]


class NodeMetric:
    """A metric that says what it reads: ``{metric: accuracy, from: [s.logits, batch.label], name: deployed}``."""

    def __init__(self, content: Mapping[str, Any], key: str) -> None:
        self.part = catalog().get("metric", content["metric"], key=f"{key}.metric")
        self.inputs = bound_inputs(self.part, content, key)
        self.options = {k: v for k, v in content.items() if k not in ("metric", "from", "name")}
        self.name: str | None = content.get("name")

    @property
    def refs(self) -> list[Ref]:
        return list(self.inputs.values())

    def score(self, values: Mapping[Ref, Any]) -> dict[str, float]:
        """The metric's columns, of the values that it reads."""
        value = self.part.load()(**{name: values[ref] for name, ref in self.inputs.items()}, **self.options)
        return named_scores(value, self.part.name, self.name)


def bound_inputs(part: Part, content: Mapping[str, Any], key: str) -> dict[str, Ref]:
    """What each input of a metric's part reads. Raises ``InputError`` where nothing is said of it, or several things."""
    if "from" not in content:
        raise InputError("say what this metric reads: {metric: NAME, from: [node, ...]}", key=key)
    found: dict[str, Ref] = {}
    for name, ref in part.bind(parse_inputs(content["from"], key=f"{key}.from"), key=key).items():
        if not isinstance(ref, Ref):
            raise InputError(f"'{name}' is one value, got a list: join it in a node (op: stack)", key=f"{key}.from")
        found[name] = ref
    return found


def named_scores(value: Any, part: str, name: str | None) -> dict[str, float]:
    """A metric's value by column: under ``name`` or its part's; several values under their own, behind a given ``name``."""
    if isinstance(value, Mapping):
        return {f"{name}.{k}" if name else k: float(v) for k, v in value.items()}
    return {name or part: float(value)}
