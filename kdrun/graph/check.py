"""Static checks of a run graph: names, wiring, arguments, types and ranges, before anything is imported.

All nodes are checked; what no wanted result reads is then left out. Wanted are the tables that no stage reads, and
the nodes under ``results``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from kdrun.errors import InputError, nearest
from kdrun.grammar.loops import parse_graph
from kdrun.grammar.nodes import Graph, Node
from kdrun.graph.columns import check_objective
from kdrun.graph.normal import normalized
from kdrun.graph.order import in_order, needed, wanted
from kdrun.graph.provenance import shown_columns
from kdrun.graph.types import expected, part_of, said, value_type
from kdrun.registry import BY_KINDS, KINDS, catalog

__all__ = ["check", "check_optimizer", "nested_parts"]

ENGINE_KEYS: dict[str, tuple[str, ...]] = {
    "data": ("augment",),
    "optimizer": ("schedule", "groups", "weight_decay_on", "layer_decay"),
    "model": ("weights",),
    "stage": ("seed",),
    "metric": ("name",),
}
"""Keys beside a part's own parameters that the engine reads, per verb."""


def check(config: Mapping[str, Any]) -> Graph:
    """Return the checked graph of a composed config, sorted topologically, with what its results need.

    Raises ``InputError`` (with the config key) for the first thing that is wrong.
    """
    nodes = {name: normalized(node, config) for name, node in parse_graph(config).items()}
    graph = in_order(Graph(nodes))
    for node in graph:
        if node.verb in ("stage", "op") or _is_used(node, graph):
            _check_node(node, graph)
    found = needed(graph, wanted(graph, config))
    for node in found.stages():
        hook = catalog().hook("check_of", f"wanted {node.part}")
        if hook is not None:
            hook.load()(node, found)
    check_objective(config, found)
    return replace(found, shown=shown_columns(graph, config))


def _is_used(node: Node, graph: Graph) -> bool:
    return any(ref.name == node.name for other in graph for ref in other.refs())


def _check_node(node: Node, graph: Graph) -> None:
    if node.verb == "stage" and node.by is None and node.part in BY_KINDS:
        raise InputError(f"'{node.part}' needs 'by': one of {', '.join(catalog().names(node.part))}", key=node.key)
    if node.verb == "stage" and node.by is not None and node.part not in BY_KINDS:
        known = [*catalog().names("stage"), *BY_KINDS]
        raise InputError(f"'by' does not go with the stage '{node.part}'{nearest(node.part, known)}", key=node.key)
    for name, value in node.params.items():
        if value == "???":
            raise InputError(f"'{name}' has no value yet: set {node.key}.{name}=...", key=f"{node.key}.{name}")
    part = part_of(node)
    engine_keys = ENGINE_KEYS.get(node.verb, ())
    own = {k: v for k, v in node.params.items() if k not in engine_keys}
    part.validate(own, key=node.key)
    bound = part.bind(node.inputs, key=node.key) if node.verb in ("stage", "op") else {}
    annotations = {i.name: i.annotation for i in part.inputs}
    for name, item in bound.items():
        accepted = expected(annotations.get(name, ""))
        for ref in item if isinstance(item, list) else [item]:
            if isinstance(ref, list):
                raise InputError(f"input '{name}' of '{part.name}' is a list within a list", key=f"{node.key}.from")
            found = value_type(ref, graph, key=f"{node.key}.from")
            if accepted is not None and found not in accepted:
                hint = "; name one of its splits, such as data.train" if found == "dataset" else ""
                raise InputError(
                    f"input '{name}' of '{part.name}' takes a {' or '.join(sorted(accepted))}, "
                    f"but '{ref}' is a {found}{hint}",
                    key=f"{node.key}.from",
                )
    if node.verb == "optimizer":
        check_optimizer(node.params, node.key)
    if node.verb == "data":
        _check_augment(node.params.get("augment"), f"{node.key}.augment")
    for kind, name, params, key in nested_parts(node.params, node.key):
        catalog().get(kind, name, key=f"{key}.{kind}").validate(params, key=key)
    rest = said("check_of", node) if node.verb == "stage" else None
    if rest is not None:
        rest(node, graph)


def _check_augment(content: Any, key: str) -> None:
    wanted = [] if content is None else content
    if not isinstance(wanted, list) or not all(
        isinstance(t, dict) and isinstance(t.get("transform"), str) for t in wanted
    ):
        raise InputError(f"augment lists transforms: [{{transform: NAME, ...}}], got {content!r:.60}", key=key)


def check_optimizer(content: Mapping[str, Any], key: str) -> None:
    """Raise ``InputError`` for a wrong value of a setting that goes with any optimizer."""
    schedule = content.get("schedule")
    if schedule is not None and not (isinstance(schedule, Mapping) and isinstance(schedule.get("schedule"), str)):
        raise InputError(f"a schedule reads {{schedule: NAME, ...}}, got {schedule!r:.60}", key=f"{key}.schedule")
    chosen, decay = content.get("weight_decay_on", "all"), content.get("layer_decay")
    if chosen not in ("all", "matrices"):
        hint = nearest(str(chosen), ("all", "matrices"))
        raise InputError(f"weights decay on all or on matrices, got {chosen!r}{hint}", key=f"{key}.weight_decay_on")
    if decay is not None and (isinstance(decay, bool) or not isinstance(decay, int | float) or not 0 < decay <= 1):
        raise InputError(f"layer_decay is a number above 0 and at most 1, got {decay!r}", key=f"{key}.layer_decay")


def nested_parts(content: Any, key: str) -> Iterator[tuple[str, str, dict[str, Any], str]]:
    """Parts named inside parameters (``{metric: accuracy, top: 5}``): kind, name, parameters, key.

    Step graphs are not entered: their nodes have their own rules.
    """
    if isinstance(content, dict):
        for name, value in content.items():
            if name not in ("step", "nodes"):
                yield from nested_parts(value, f"{key}.{name}")
        kinds = [k for k in KINDS if k not in ("stage", "op") and isinstance(content.get(k), str)]
        if len(kinds) == 1:
            kind = kinds[0]
            skip = {kind, "from", *ENGINE_KEYS.get(kind, ())}
            yield kind, content[kind], {k: v for k, v in content.items() if k not in skip}, key
    elif isinstance(content, list):
        for i, item in enumerate(content):
            yield from nested_parts(item, f"{key}.{i}")
