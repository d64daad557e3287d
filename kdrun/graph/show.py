"""Drawing a run graph: as a text tree, YAML, Mermaid or SVG."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from typing import Any

from kdrun.config.writing import yaml_text
from kdrun.grammar.nodes import SOURCES, Graph, Node, Ref
from kdrun.grammar.steps import Step, parse_step

__all__ = ["as_mermaid", "as_svg", "as_text", "as_yaml"]


def title(node: Node) -> str:
    """What a node does, in two or three words."""
    return f"{node.part}{f' by {node.by}' if node.by else ''}" if node.verb == "stage" else f"{node.verb} {node.part}"


def as_text(graph: Graph) -> str:
    """A tree per final result: each stage above what it reads, and train stages with their updates."""
    lines: list[str] = []
    shown: set[str] = set()

    def visit(name: str, indent: str, last: bool, arguments: str) -> None:
        node = graph.nodes[name]
        branch = "" if not indent and not arguments else ("└─ " if last else "├─ ")
        lines.append(
            f"{indent}{branch}{arguments}{name}  ({title(node)})" + ("  …" if name in shown and _inputs(node) else "")
        )
        if name in shown:
            return
        shown.add(name)
        inner = indent + ("" if not branch else "   " if last else "│  ")
        items = _inputs(node)
        for line in _step_lines(node):
            lines.append(f"{inner}{'│  ' if items else '   '}{line}")
        for i, (argument, target) in enumerate(items):
            visit(target.name, inner, i == len(items) - 1, f"{argument}: ")

    for target in graph.targets:
        visit(target, "", True, "")
        lines.append("")
    return "\n".join(lines).rstrip()


def _inputs(node: Node) -> list[tuple[str, Ref]]:
    if isinstance(node.inputs, dict):
        pairs = [(n, i) for n, i in node.inputs.items()]
    else:
        pairs = [(str(i + 1), item) for i, item in enumerate(node.inputs)]
    return [(n, ref) for n, item in pairs for ref in (item if isinstance(item, list) else [item])]


def _step_lines(node: Node) -> list[str]:
    if not isinstance(node.params.get("step"), dict):
        return []
    step: Step = parse_step(node.params["step"], key=node.key)
    lines = [f"· {n.name} = {n.node.part}({', '.join(map(str, n.node.refs()))})" for n in step.nodes.values()]
    for update in step.updates:
        terms = " + ".join(
            f"{w if not isinstance(w, dict) else w.get('schedule')}·{n}" for n, w in update.minimize.items()
        )
        lines.append(f"▸ {update.name}: minimize {terms} over {', '.join(update.train)}")
    return lines


def as_yaml(graph: Graph) -> str:
    """The checked graph, unrolled and with named steps written out."""
    content: dict[str, Any] = {}
    for node in graph:
        entry: dict[str, Any] = {node.verb: node.part, **({"by": node.by} if node.by else {})}
        if isinstance(node.inputs, dict):
            entry["from"] = {n: [str(r) for r in i] if isinstance(i, list) else str(i) for n, i in node.inputs.items()}
        elif node.inputs:
            entry["from"] = [[str(r) for r in i] if isinstance(i, list) else str(i) for i in node.inputs]
        content[node.name] = {**entry, **node.params}
    return yaml_text(content, width=110)


def as_mermaid(graph: Graph) -> str:
    """A Mermaid flowchart."""
    names = {node.name: f"n{i}" for i, node in enumerate(graph)}
    lines = ["flowchart TD"]
    for node in graph:
        shape = ("([", "])") if node.verb in SOURCES else ("[", "]")
        lines.append(
            f'  {names[node.name]}{shape[0]}"{_label(node.name)}<br/><small>{_label(title(node))}</small>"{shape[1]}'
        )
    for node in graph:
        for argument, target in _inputs(node):
            label = f'|"{_label(argument)}"|' if not argument.isdigit() else ""
            lines.append(f"  {names[target.name]} -->{label} {names[node.name]}")
    return "\n".join(lines)


def _label(text: str) -> str:
    """Text inside the quotes of a label: what Mermaid would read as its own is written by its number."""
    return re.sub(r"[^\w .:+/\[\]-]", lambda found: f"#{ord(found.group())};", text)


WIDTH, HEIGHT, GAP_X, GAP_Y = 168, 46, 28, 54


def as_svg(graph: Graph) -> str:
    """A layered drawing: every node below what it reads."""
    places = _places(graph)
    drawn = [node for node in graph if node.name in places]
    width = max(x for x, _ in places.values()) + WIDTH + GAP_X
    height = max(y for _, y in places.values()) + HEIGHT + GAP_X
    body = []
    for node in drawn:
        for target in dict.fromkeys(r.name for r in node.refs()):
            (x0, y0), (x1, y1) = places[target], places[node.name]
            a, b, c, d = x0 + WIDTH / 2, y0 + HEIGHT, x1 + WIDTH / 2, y1
            middle = (b + d) / 2
            body.append(f'<path class="edge" d="M{a},{b} C{a},{middle} {c},{middle} {c},{d}"/>')
    for node in drawn:
        x, y = places[node.name]
        kind = "source" if node.verb in SOURCES else "stage"
        body.append(f'<rect class="{kind}" x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="8"/>')
        body.append(f'<text class="name" x="{x + WIDTH / 2}" y="{y + 19}">{escape(_short(node.name, 22))}</text>')
        body.append(f'<text class="what" x="{x + WIDTH / 2}" y="{y + 35}">{escape(_short(title(node), 26))}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" class="graph">'
        f"<style>{_STYLE}</style>{''.join(body)}</svg>"
    )


_STYLE = (
    ".graph .edge{fill:none;stroke:#8a94a6;stroke-width:1.3}"
    ".graph .stage{fill:#eef3fb;stroke:#4a6fa5;stroke-width:1.2}"
    ".graph .source{fill:#f6f1e7;stroke:#b08d57;stroke-width:1.2}"
    ".graph text{font-family:system-ui,sans-serif;text-anchor:middle;fill:#1c2430}"
    ".graph .name{font-size:13px;font-weight:600}.graph .what{font-size:11px;fill:#56606f}"
)


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _places(graph: Graph) -> Mapping[str, tuple[float, float]]:
    """Rows by longest path from a source; inside a row, by the mean place of what is read."""
    level: dict[str, int] = {}
    for node in graph:
        level[node.name] = max((level[r.name] + 1 for r in node.refs()), default=0)
    used = {r.name for n in graph for r in n.refs()}
    names = [n.name for n in graph if n.verb not in SOURCES or n.name in used]
    rows: dict[int, list[str]] = {}
    for name in names:
        rows.setdefault(level[name], []).append(name)
    column: dict[str, float] = {}
    for number in sorted(rows):
        row = rows[number]
        if number:
            row.sort(
                key=lambda n: (
                    sum(column[r.name] for r in graph.nodes[n].refs()) / max(1, len(list(graph.nodes[n].refs())))
                )
            )
        column.update({name: float(i) for i, name in enumerate(row)})
    widest = max(len(row) for row in rows.values())
    return {
        name: (GAP_X + (i + (widest - len(row)) / 2) * (WIDTH + GAP_X), GAP_X / 2 + number * (HEIGHT + GAP_Y))
        for number, row in rows.items()
        for i, name in enumerate(row)
    }
