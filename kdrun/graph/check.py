"""Static checks of a run graph: names, wiring, arguments, types and ranges, before anything is imported.

All nodes are checked; what no wanted result reads is then left out. Wanted are the tables that no stage reads, and
the nodes under ``results``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kdrun.errors import InputError, nearest
from kdrun.grammar.loops import parse_graph
from kdrun.grammar.nodes import Graph, Node, Ref, parse_inputs, parse_node
from kdrun.grammar.steps import Step, StepNode, Update, parse_step
from kdrun.graph.normal import normalized
from kdrun.graph.order import in_order, needed, wanted
from kdrun.graph.types import expected, part_of, value_type
from kdrun.registry import BY_KINDS, KINDS, catalog

__all__ = ["check", "nested_parts"]

ENGINE_KEYS: dict[str, tuple[str, ...]] = {
    "data": ("augment",),
    "optimizer": ("schedule", "groups"),
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
    return needed(graph, wanted(graph, config))


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
            found = value_type(ref, graph, key=f"{node.key}.from")
            if accepted is not None and found not in accepted:
                hint = "; name one of its splits, such as data.train" if found == "dataset" else ""
                raise InputError(
                    f"input '{name}' of '{part.name}' takes a {' or '.join(sorted(accepted))}, "
                    f"but '{ref}' is a {found}{hint}",
                    key=f"{node.key}.from",
                )
    for kind, name, params, key in nested_parts(node.params, node.key):
        catalog().get(kind, name, key=f"{key}.{kind}").validate(params, key=key)
    if node.verb == "stage" and node.part == "search":
        _check_scores(node, graph)
    if node.verb == "stage" and node.part == "measure" and node.params.get("step") is None:
        _check_direct_metrics(node)
    if node.verb == "stage" and isinstance(node.params.get("step"), dict):
        _check_step(parse_step(node.params["step"], key=f"{node.key}.step"), node, graph)


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


class _Roles:
    """What the names inside a step stand for: models, data, tensors and optimizers handed in."""

    def __init__(self, step: Step, node: Node, graph: Graph) -> None:
        inputs = node.inputs if isinstance(node.inputs, dict) else {}
        if not isinstance(node.inputs, dict):
            raise InputError("a train stage names its inputs: from: {student: ..., data: ...}", key=f"{node.key}.from")
        self.types: dict[str, str] = {}
        for name, item in inputs.items():
            first = item[0] if isinstance(item, list) else item
            self.types[name] = value_type(first, graph, key=f"{node.key}.from.{name}")
        for name in step.state:
            if name in self.types:
                raise InputError(f"'{name}' already names something handed in", key=f"{step.key}.state.{name}")
            self.types[name] = "tensor"
        for name in node.params.get("models") or {}:
            if name in self.types:
                raise InputError(f"'{name}' stands under both from and models", key=f"{node.key}.models.{name}")
            self.types[name] = "model"

    def of(self, kind: str) -> list[str]:
        return [n for n, t in self.types.items() if t == kind]


def _check_step(step: Step, node: Node, graph: Graph) -> None:
    roles = _Roles(step, node, graph)
    for entry in step.state.values():
        part = catalog().get("op", entry.part, key=f"{entry.key}.op")
        part.validate(entry.params, key=entry.key)
        part.bind([], key=entry.key)
    for name, step_node in step.nodes.items():
        if name in roles.types or name == "batch":
            raise InputError(f"'{name}' already names something handed in", key=step_node.node.key)
        _check_step_node(step_node, step, roles)
    step.order()
    if "data" not in roles.types:
        raise InputError(f"'{node.part}' needs data: from: {{..., data: data.train}}", key=f"{node.key}.from")
    for refs, key in step_readers(node):
        for ref in refs:
            _check_step_ref(ref, step, roles, key=key)
    _check_readers(node)
    if int(node.params.get("accumulate", 1)) > 1 and len(step.updates) > 1:
        raise InputError("gradients are accumulated in steps with one update", key=f"{node.key}.accumulate")
    for update in step.updates:
        _check_update(update, step, roles)


def step_readers(node: Node) -> Iterator[tuple[list[Ref], str]]:
    """References into a step that stand outside it (what metrics, a refresh or ``of`` read), each with its key."""
    given = [(m.get("from"), f"{node.key}.metrics.{i}.from") for i, m in enumerate(node.params.get("metrics") or [])]
    if node.part == "compute":
        given.append((node.params.get("of"), f"{node.key}.of"))
    if isinstance(node.params.get("refresh"), dict):
        given.append((node.params["refresh"].get("from"), f"{node.key}.refresh.from"))
    for content, key in given:
        inputs = parse_inputs(content, key=key)
        items = inputs.values() if isinstance(inputs, dict) else inputs
        yield [ref for item in items for ref in (item if isinstance(item, list) else [item])], key


def _check_readers(node: Node) -> None:
    """Arguments of the metrics and of the refresh that read a step."""
    for i, content in enumerate(node.params.get("metrics") or []):
        key = f"{node.key}.metrics.{i}"
        part = catalog().get("metric", content["metric"], key=f"{key}.metric")
        if "from" not in content:
            raise InputError("say what this metric reads: {metric: NAME, from: [node, ...]}", key=key)
        part.bind(parse_inputs(content["from"], key=f"{key}.from"), key=key)
    refresh = node.params.get("refresh")
    if refresh is None:
        return
    inner = parse_node("refresh", refresh, key=f"{node.key}.refresh", verbs=("op",))
    part = catalog().get("op", inner.part, key=f"{inner.key}.op")
    scheduled = {k for k, v in inner.params.items() if isinstance(v, dict) and "schedule" in v}
    own = {k: v for k, v in inner.params.items() if k != "every" and k not in scheduled}
    part.validate(own, key=inner.key, later=scheduled)
    part.bind(inner.inputs, key=inner.key)


def _check_scores(node: Node, graph: Graph) -> None:
    """Scores of a search: step graphs that may call ``candidate``, or parts that reduce a model and data."""
    for name, content in (node.params.get("scores") or {}).items():
        key = f"{node.key}.scores.{name}"
        if not isinstance(content, dict) or ("nodes" not in content) == ("reduce" not in content):
            raise InputError("a score reads {nodes: {...}, value: {node: weight}} or {reduce: NAME}", key=key)
        if "reduce" in content:
            continue
        step = parse_step({"nodes": content["nodes"]}, key=key)
        roles = _Roles(step, node, graph)
        roles.types["candidate"] = "model"
        for step_node in step.nodes.values():
            _check_step_node(step_node, step, roles)
        step.order()
        weights = content.get("value")
        if not isinstance(weights, dict) or not weights:
            raise InputError("value maps nodes to their weights in the score", key=f"{key}.value")
        for target in weights:
            _check_step_ref(Ref.parse(target, key=f"{key}.value"), step, roles, key=f"{key}.value.{target}")


def _check_direct_metrics(node: Node) -> None:
    """Without a step, metrics read what is handed in."""
    named = list(node.inputs) if isinstance(node.inputs, dict) else []
    for refs, key in step_readers(node):
        for ref in refs:
            if ref.name not in named:
                raise InputError(f"nothing called '{ref.name}' is handed in{nearest(ref.name, named)}", key=key)
    _check_readers(node)


def _check_step_node(step_node: StepNode, step: Step, roles: _Roles) -> None:
    node = step_node.node
    if node.verb == "call":
        if roles.types.get(step_node.role) != "model":
            models = roles.of("model")
            raise InputError(
                f"there is no model '{step_node.role}' here{nearest(step_node.role, models)}; models: {', '.join(models)}",
                key=f"{node.key}.call",
            )
    else:
        part = catalog().get("op", node.part, key=f"{node.key}.op")
        part.validate(step_node.params, key=node.key)
        part.bind(node.inputs, key=node.key)
    for ref in node.refs():
        _check_step_ref(ref, step, roles, key=f"{node.key}.from")


def _check_step_ref(ref: Ref, step: Step, roles: _Roles, *, key: str) -> None:
    if ref.name == "batch":
        if not ref.field:
            raise InputError("name a column of the batch, such as batch.image", key=key)
        return
    if ref.name in step.nodes:
        target = step.nodes[ref.name]
        if target.node.verb == "call" and ref.field:
            known = [*target.taps, *STANDARD_FIELDS]
            if target.taps and ref.field[0] not in known and nearest(ref.field[0], target.taps):
                raise InputError(
                    f"'{ref.name}' has no field '{ref.field[0]}'{nearest(ref.field[0], known)}; taps: {', '.join(target.taps)}",
                    key=key,
                )
        return
    if ref.name not in roles.types:
        known = [*step.nodes, *roles.types, "batch"]
        raise InputError(f"there is no node or input '{ref.name}'{nearest(ref.name, known)}", key=key)


STANDARD_FIELDS = ("logits", "probabilities", "output")


def _check_update(update: Update, step: Step, roles: _Roles) -> None:
    for name, weight in update.minimize.items():
        if name.split(".")[0] not in step.nodes:
            raise InputError(
                f"there is no node '{name}'{nearest(name, step.nodes)}", key=f"{update.key}.minimize.{name}"
            )
        if isinstance(weight, bool) or not isinstance(weight, int | float | dict):
            raise InputError(f"a weight is a number or a schedule, got {weight!r}", key=f"{update.key}.minimize.{name}")
        for kind, part, params, key in nested_parts(weight, f"{update.key}.minimize.{name}"):
            catalog().get(kind, part, key=key).validate({k: v for k, v in params.items() if k != "value"}, key=key)
    for role in update.roles():
        if roles.types.get(role) != "model":
            models = roles.of("model")
            raise InputError(f"there is no model '{role}' to train{nearest(role, models)}", key=f"{update.key}.train")
    if isinstance(update.optimizer, str):
        if roles.types.get(update.optimizer) != "optimizer":
            raise InputError(
                f"there is no optimizer '{update.optimizer}' under from{nearest(update.optimizer, roles.types)}",
                key=f"{update.key}.optimizer",
            )
    for kind, part, params, key in nested_parts(update.optimizer, f"{update.key}.optimizer"):
        catalog().get(kind, part, key=f"{key}.{kind}").validate(params, key=key)
    for transform in update.gradient:
        params = {k: v for k, v in transform.items() if k not in ("gradient", "from")}
        catalog().get("gradient", transform["gradient"], key=f"{update.key}.gradient").validate(
            params, key=f"{update.key}.gradient"
        )
    if roles.types.get(update.batch) != "data":
        raise InputError(
            f"there is no data '{update.batch}'{nearest(update.batch, roles.of('data'))}", key=f"{update.key}.batch"
        )
    names = [u.name for u in step.updates]
    if update.through is not None and update.through.get("update") not in names:
        raise InputError(f"through names an update: one of {', '.join(names)}", key=f"{update.key}.through")
    for role in update.average:
        if role not in update.roles():
            raise InputError(f"average names '{role}', which this update does not train", key=f"{update.key}.average")
