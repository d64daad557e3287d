"""Hooks of the site: CONTRIBUTING.md becomes a page, and Mermaid flowcharts become drawings inside the page.

A page fetches nothing: what Mermaid's own script would draw in a browser is drawn here, while the site is built.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
FENCE = re.compile(r"^```mermaid\n(.*?)^```$", re.M | re.S)
NODE = re.compile(r'(\w+)\["(.*?)"\]')
EDGE = re.compile(r"(\w+)\s*-->\s*(\w+)")
GROUP = re.compile(r"subgraph (\w+) \[(.*)\]")

WIDTH, LINE, GAP, PAD = 190, 17, 26, 30


def on_files(files: Any, config: Any) -> Any:
    """Add CONTRIBUTING.md, its links led from the top of the repository into the documents."""
    from mkdocs.structure.files import File

    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").replace("](docs/", "](")
    files.append(File.generated(config, "contributing.md", content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put a drawing in the place of each Mermaid flowchart; lead links to CONTRIBUTING.md to its page."""
    markdown = markdown.replace("](../CONTRIBUTING.md", "](contributing.md")
    return FENCE.sub(lambda found: drawing(found.group(1)), markdown)


@dataclass
class Chart:
    """A flowchart read from Mermaid's text: labels by node, the group of each, and arrows."""

    labels: dict[str, list[str]] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)

    @classmethod
    def of(cls, text: str) -> Chart:
        """Read nodes ``a["two<br/>lines"]``, arrows ``a --> b``, and groups ``subgraph name [title]`` … ``end``."""
        chart = cls()
        group = ""
        for line in text.splitlines():
            if found := GROUP.search(line):
                group = found.group(1)
                chart.titles[group] = found.group(2)
            elif line.strip() == "end":
                group = ""
            for name, label in NODE.findall(line):
                chart.labels[name] = label.split("<br/>")
                chart.groups.setdefault(group, []).append(name)
            chart.edges += EDGE.findall(NODE.sub(r"\1", line))
        return chart

    def rows(self, group: str) -> list[list[str]]:
        """The nodes of a group, each below all those of the group that have an arrow to it."""
        names = self.groups[group]
        level = dict.fromkeys(names, 0)
        for _ in names:
            for start, end in self.edges:
                if start in level and end in level:
                    level[end] = max(level[end], level[start] + 1)
        return [[n for n in names if level[n] == number] for number in sorted(set(level.values()))]


def drawing(text: str) -> str:
    """The flowchart as SVG: groups are bands, one below the other."""
    chart = Chart.of(text)
    places: dict[str, tuple[float, float, float]] = {}
    bands = []
    widest = max(len(row) for group in chart.groups for row in chart.rows(group))
    whole = widest * (WIDTH + GAP) + GAP
    top = float(GAP)
    for group in chart.groups:
        start = top
        top += PAD if group else 0
        for row in chart.rows(group):
            height = max(len(chart.labels[n]) for n in row) * LINE + 16
            left = (whole - len(row) * (WIDTH + GAP) + GAP) / 2
            places.update({n: (left + i * (WIDTH + GAP), top, height) for i, n in enumerate(row)})
            top += height + GAP
        if group:
            title = f'<text x="{GAP / 2 + 12}" y="{start + 18}" class="title">{escape(chart.titles[group])}</text>'
            bands.append(
                f'<rect class="band" x="{GAP / 2}" y="{start}" width="{whole - GAP}" height="{top - start - 6}"/>{title}'
            )
            top += GAP / 2
    arrows = [_arrow(places[a], places[b]) for a, b in chart.edges]
    boxes = [_box(places[name], lines) for name, lines in chart.labels.items()]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 {whole} {top}" style="max-width: {whole}px" role="img">'
        f"<style>{STYLE}</style>{''.join([*bands, *arrows, *boxes])}</svg>\n"
    )


def _arrow(start: tuple[float, float, float], end: tuple[float, float, float]) -> str:
    x, y, to_x, to_y = start[0] + WIDTH / 2, start[1] + start[2], end[0] + WIDTH / 2, end[1]
    middle = (y + to_y) / 2
    head = f'<path class="head" d="M{to_x},{to_y} l-4,-7 h8 z"/>'
    return f'<path class="arrow" d="M{x},{y} C{x},{middle} {to_x},{middle} {to_x},{to_y - 5}"/>{head}'


def _box(place: tuple[float, float, float], lines: list[str]) -> str:
    x, y, height = place
    first = y + height / 2 - (len(lines) - 1) * LINE / 2 + 4
    texts = [
        f'<text class="{"name" if i == 0 else "what"}" x="{x + WIDTH / 2}" y="{first + i * LINE}">{escape(line)}</text>'
        for i, line in enumerate(lines)
    ]
    return f'<rect class="box" x="{x}" y="{y}" width="{WIDTH}" height="{height}" rx="6"/>{"".join(texts)}'


STYLE = (
    ".chart{display:block;width:100%}"
    ".chart .band{fill:#8884;stroke:none;fill-opacity:.25}"
    ".chart .box{fill:var(--md-default-bg-color);stroke:var(--md-primary-fg-color);stroke-width:1.2}"
    ".chart .arrow{fill:none;stroke:#8a94a6;stroke-width:1.3}.chart .head{fill:#8a94a6}"
    ".chart text{font-family:inherit;fill:var(--md-default-fg-color);text-anchor:middle;font-size:12px}"
    ".chart .name{font-weight:700;font-size:13px}.chart .title{text-anchor:start;font-weight:700;opacity:.7}"
)
