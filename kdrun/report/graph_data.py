"""The run graph and the step graphs of several arms as plain data, which a page lays out and draws."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from kdrun.errors import KdrunError
from kdrun.grammar.nodes import SOURCES, Graph, Node
from kdrun.grammar.steps import Step, Update, parse_step
from kdrun.graph.show import as_text, title

__all__ = ["MOST_NODES", "compact", "drawings"]

MOST_NODES = 120
"""Larger graphs (loops unroll) are told as text alone."""

Drawing = dict[str, Any]
"""``title``, ``text`` and, where it is not too large, ``nodes`` and ``edges``."""


def drawings(graphs: Mapping[str, Graph]) -> dict[str, list[Drawing]]:
    """By arm, its run graph and the step graph of each stage that has one.

    A node has ``id``, ``label``, ``what``, ``kind`` (source, stage, call, frozen, op, loss, update) and ``own``: that not all arms have it, or
    have it otherwise. An edge has ``from``, ``to``, ``label``. The text says the same for those who do not see the drawing.
    """
    found = {arm: [_run(graph), *_steps(graph)] for arm, graph in graphs.items()}
    for name in dict.fromkeys(drawing["title"] for several in found.values() for drawing in several):
        _mark_own([d for several in found.values() for d in several if d["title"] == name], len(found))
    return found


def compact(found: Mapping[str, list[Drawing]]) -> dict[str, Any]:
    """Each different drawing once (``drawings``), and by arm the numbers of its own (``arms``); for a page, which takes them apart."""
    numbers: dict[str, int] = {}
    drawn: list[Drawing] = []
    arms: dict[str, list[int]] = {}
    for arm, several in found.items():
        for one in several:
            plain = {**one, "nodes": [{k: v for k, v in node.items() if k != "is"} for node in one["nodes"]]}
            label = json.dumps(plain, sort_keys=True)
            if label not in numbers:
                numbers[label] = len(drawn)
                drawn.append(plain)
            arms.setdefault(arm, []).append(numbers[label])
    return {"drawings": drawn, "arms": arms}


def _mark_own(same: list[Drawing], arms: int) -> None:
    """Say of each node of the same graph in several arms whether it is in all of them."""
    if arms < 2:
        return
    contents = [{node["id"]: node["is"] for node in drawing["nodes"]} for drawing in same]
    for drawing in same:
        for node in drawing["nodes"]:
            shared = sum(content.get(node["id"]) == node["is"] for content in contents)
            node["own"] = shared < arms


def _bounded(drawing: Drawing) -> Drawing:
    if len(drawing["nodes"]) > MOST_NODES:
        return {**drawing, "nodes": [], "edges": [], "large": True}
    return drawing


def _run(graph: Graph) -> Drawing:
    read = {ref.name for node in graph for ref in node.refs()}
    drawn = [node for node in graph if node.verb not in SOURCES or node.name in read]
    nodes = [_node(node.name, title(node), "source" if node.verb in SOURCES else "stage", node) for node in drawn]
    edges = [
        {"from": ref.name, "to": node.name, "label": ".".join(ref.field)} for node in drawn for ref in _each_ref(node)
    ]
    return _bounded({"title": "run graph", "text": as_text(graph), "nodes": nodes, "edges": edges})


def _each_ref(node: Node) -> Iterable[Any]:
    return dict.fromkeys(node.refs())


def _node(name: str, what: str, kind: str, content: Any) -> dict[str, Any]:
    said = f"{content.inputs} {content.params}" if isinstance(content, Node) else str(content)
    return {"id": name, "label": name, "what": what, "kind": kind, "is": f"{what} {kind} {said}", "own": False}


def _steps(graph: Graph) -> list[Drawing]:
    found = []
    for node in graph:
        content = node.params.get("step")
        if isinstance(content, Mapping):
            try:
                step = parse_step(dict(content), key=node.key)
            except KdrunError:
                continue
            if step.updates:
                found.append(_bounded(_step(node.name, step)))
    return found


def _step(stage: str, step: Step) -> Drawing:
    losses = {name for update in step.updates for name in update.minimize}
    nodes, edges, outside = [], [], {}
    for name, one in step.nodes.items():
        call = one.node.verb == "call"
        kind = "loss" if name in losses else ("call" if one.grad else "frozen") if call else "op"
        told = ", ".join(f"{k} {v:g}" for k, v in one.params.items() if isinstance(v, float))
        what = f"{'call ' if call else ''}{one.node.part}{'' if one.grad else ', no gradient'}"
        nodes.append(_node(name, f"{what}{f' ({told})' if told else ''}", kind, one.node))
        for ref in _each_ref(one.node):
            outside.update({} if ref.name in step.nodes else {ref.name: ref.name})
            edges.append({"from": ref.name, "to": name, "label": ".".join(ref.field)})
    for update in step.updates:
        what = f"trains {', '.join(update.train)}"
        nodes.append(_node(f"update {update.name}", what, "update", f"{dict(update.minimize)} {update.every}"))
        edges += [
            {"from": name, "to": f"update {update.name}", "label": _weight(update, name)} for name in update.minimize
        ]
    sources = [_node(name, "read by the step", "source", name) for name in outside]
    text = "\n".join(_lines(step))
    return {"title": f"step of {stage}", "text": text, "nodes": [*sources, *nodes], "edges": edges}


def _weight(update: Update, name: str) -> str:
    weight = update.minimize[name]
    if isinstance(weight, Mapping):
        return str(weight.get("schedule", "scheduled"))
    return f"× {weight:g}" if isinstance(weight, int | float) else f"× {weight}"


def _lines(step: Step) -> list[str]:
    lines = [f"{n.name} = {n.node.part}({', '.join(map(str, n.node.refs()))})" for n in step.nodes.values()]
    for update in step.updates:
        terms = " + ".join(f"{_weight(update, n).removeprefix('× ')}·{n}" for n in update.minimize)
        lines.append(f"{update.name}: minimize {terms} over {', '.join(update.train)}")
    return lines
