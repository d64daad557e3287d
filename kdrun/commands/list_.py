"""``kdrun list [papers|methods|parts|groups|runs] [filter]``: what is there."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kdrun.commands.arguments import Parser
from kdrun.commands.output import say
from kdrun.commands.table import TOPICS
from kdrun.config.files import read
from kdrun.config.methods import comments, methods
from kdrun.config.paths import group_options, groups, recipe_files
from kdrun.errors import InputError, nearest, printable
from kdrun.grammar.measurements import in_table
from kdrun.registry import KINDS, catalog

__all__ = ["main", "papers"]

OWN = {
    "papers": "recipes/NAME.yaml or recipes/FAMILY/NAME.yaml in the working folder",
    "methods": "conf/transfer/PROTOCOL/NAME.yaml in the working folder",
    "groups": "conf/GROUP/NAME.yaml in the working folder (conf/model/ serves teacher and student)",
    "parts": "a Python file or an installed package, named by plugins=[mine.py]",
}
"""Where a user's own are found."""


def main(arguments: Sequence[str]) -> int:
    parser = Parser(prog="kdrun list", description="List what is there, filtered by words in name or description.")
    parser.add_argument("topic", nargs="?", default="papers", help="papers (default), methods, parts, groups or runs")
    parser.add_argument(
        "words",
        nargs="*",
        help="show only lines that contain all of these words; methods PROTOCOL: those of a protocol",
    )
    parser.add_argument("--kind", help=f"for parts: one of {', '.join(KINDS)}")
    parser.add_argument(
        "--plugins", default="", help="for parts: also those of these files or packages, comma-separated"
    )
    parser.add_argument("--runs", type=os.path.expanduser, default="runs", help="for runs: the folder of records")
    options = parser.parse_intermixed_args(list(arguments))
    if options.topic not in TOPICS:
        raise InputError(f"kdrun list shows {', '.join(TOPICS)}; not '{options.topic}'{nearest(options.topic, TOPICS)}")
    if options.kind is not None and options.kind not in KINDS:
        raise InputError(f"there is no kind '{options.kind}'{nearest(options.kind, KINDS)}")
    rows = {
        "papers": _papers,
        "methods": _methods,
        "parts": lambda: _parts(options.kind, [p for p in options.plugins.split(",") if p]),
        "groups": _groups,
        "runs": lambda: _runs(Path(options.runs)),
    }[options.topic]()
    shown = [
        tuple(printable(cell, line=True) for cell in row)
        for row in rows
        if all(w.lower() in " ".join(row).lower() for w in options.words)
    ]
    if options.topic == "methods" and shown:
        say("\n\n".join("\n    ".join(filter(None, row)) for row in shown))
        return _told(options.topic)
    widths = [max((len(r[i]) for r in shown), default=0) for i in range(len(shown[0]) - 1)] if shown else []
    for row in shown:
        say("  ".join([*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[-1]]).rstrip())
    if not shown:
        say(f"no {options.topic} match" if options.words else f"no {options.topic} yet")
    return _told(options.topic)


def _told(topic: str) -> int:
    """Say below a list where one's own go, beside what can be piped."""
    if topic in OWN:
        say(f"your own: {OWN[topic]}; kdrun new NAME begins a project", file=sys.stderr)
    return 0


def papers() -> Iterator[tuple[str, dict[str, Any], str]]:
    """Each recipe's name, its ``paper`` block and the comment it starts with."""
    for recipe in recipe_files():
        try:
            content = read(recipe.path).content
        except InputError as error:
            yield recipe.name, {}, f"cannot be read: {error}"
            continue
        paper = content.get("paper")
        yield recipe.name, paper if isinstance(paper, dict) else {}, comments(recipe.path)[0]


def _papers() -> list[tuple[str, ...]]:
    return [
        (name, str(paper.get("year", "")), str(paper.get("arxiv", "")), str(paper.get("title") or comment))
        for name, paper, comment in papers()
    ]


def _methods() -> list[tuple[str, ...]]:
    """Each method with its protocol's name, what it does, when to use it, and what it reads of data and models."""
    return [(m.name, m.says, f"use: {m.use}" if m.use else "", m.reads) for m in methods()]


def _parts(kind: str | None, plugins: list[str]) -> list[tuple[str, ...]]:
    found = sorted((p for p in catalog(plugins or None) if kind in (None, p.kind)), key=lambda p: (p.kind, p.name))
    return [(p.kind, p.name, p.summary) for p in found]


def _groups() -> list[tuple[str, ...]]:
    return [
        (f"{group}={option}", comments(path)[0]) for group in groups() for option, path in group_options(group).items()
    ]


def _runs(root: Path) -> list[tuple[str, ...]]:
    from kdrun.engine.records import recorded_runs
    from kdrun.report.tables import number

    rows: list[tuple[str, ...]] = []
    for folder, record in recorded_runs(root):
        objective = (record.get("objective") or {}).get("metric")
        shown = [m for m in sorted(record["metrics"]) if m == objective or in_table(m, "test")]
        metrics = ", ".join(f"{m} {number(record['metrics'][m])}" for m in shown)
        state = record["state"] if record["state"] != "finished" else ""
        said = ": ".join(filter(None, (state, record.get("error"))))
        rows.append((folder.as_posix(), f"seed {record['seed']}", metrics or said))
    return rows
