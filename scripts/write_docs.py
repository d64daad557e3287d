"""Write docs/methods/ (a page a method), docs/papers.md (an index with verdicts) and docs/reference/ (all parts).

python scripts/write_docs.py [--runs FOLDER]

Pages come from the comments and knobs of conf/transfer, the docstrings of the functions that a method names, and the
recipes. With --runs, the verdicts and leaderboards of the reproductions in that folder are written down first, in results/,
a file a recipe; without it those of the last time are used.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from recorded_results import record, recorded
from write_reference import pages as reference_pages

from kdrun.config.files import read
from kdrun.config.methods import Method, comments, methods
from kdrun.config.paths import group_options, recipe_files
from kdrun.registry import Catalog
from kdrun.report.recorded import judged
from kdrun.report.tables import MARKS, number

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
CATALOG = Catalog(())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--runs", type=Path, help="folder of reproductions whose results to write down")
    options = parser.parse_args()
    if options.runs:
        record(options.runs)
    found = pages()
    for stale in committed() - {*found}:
        (DOCS / stale).unlink()
    for name, text in found.items():
        path = DOCS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def pages() -> dict[str, str]:
    """Every page that is generated, by its path below docs."""
    results = recorded()
    found = list(methods())
    return {
        "methods/README.md": method_index(found, results),
        **{f"methods/{method.name}.md": method_page(method, results) for method in found},
        "papers.md": paper_index(results),
        **{f"reference/{name}": text for name, text in reference_pages().items()},
    }


def committed() -> set[str]:
    """The generated pages that are there."""
    folders = [DOCS / "methods", DOCS / "reference"]
    return {path.relative_to(DOCS).as_posix() for folder in folders for path in folder.rglob("*.md")} | {"papers.md"}


def recipe_of(protocol: str) -> str:
    """A recipe in which any method of the protocol can be tried: its leaderboard, else its first paper."""
    using = [
        r for r in recipe_files() if {"override /protocol": protocol} in (read(r.path).content.get("defaults") or [])
    ]
    boards = [r for r in using if "leaderboard" in r.name]
    return {"distillation": "kd"}.get(protocol) or next((r.name for r in [*boards, *using]), protocol)


def method_page(method: Method, results: dict[str, Any]) -> str:
    path = group_options("transfer")[method.name]
    content = read(path).content
    short = method.name.partition("/")[2]
    base = [d for d in content.get("defaults", []) if isinstance(d, str)]
    lines = [f"# `transfer={method.name}`", "", _sentence(method.says), ""]
    lines += ["```sh", f"kdrun run {recipe_of(method.protocol)} transfer={short}", "```", ""]
    if method.use:
        lines += ["## When to use", "", _sentence(method.use), ""]
    lines += [f"In the protocol `{method.protocol}`. " + (f"{_sentence(method.reads)}" if method.reads else ""), ""]
    if base:
        links = [
            f"[`{b.rpartition('/')[2]}`]({b.rpartition('/')[2]}.md)" if not b.startswith("/") else f"`{b.lstrip('/')}`"
            for b in base
        ]
        lines += [f"Builds on {', '.join(links)}.", ""]
    lines += [*_knobs(content.get("transfer") or {}), *_mathematics(path, content), *_place(method, results)]
    lines += ["## The file", "", "```yaml", path.read_text().rstrip(), "```", ""]
    return "\n".join(lines)


def _knobs(knobs: dict[str, Any]) -> list[str]:
    rows = [f"| `transfer.{k}` | `{json.dumps(v)}` |" for k, v in knobs.items()]
    return ["## Knobs", "", "| knob | default |", "|---|---|", *rows, ""] if knobs else []


def _mathematics(path: Path, content: dict[str, Any]) -> list[str]:
    """The functions and models that the method names, with their docstrings."""
    lines = []
    for kind, part in used_parts(path, content):
        found = CATALOG.get(kind, part)
        place = f"{found.module.replace('.', '/')}.py"
        lines += [f"**`{part}`** ({kind}, `{place}`)", "", "```text", found.doc or "", "```", ""]
    return ["## Mathematics", "", *lines] if lines else []


def _place(method: Method, results: dict[str, Any]) -> list[str]:
    """What the method costs, and its rank on the protocol's leaderboard, where that has been run."""
    board = board_of(method.protocol, results)
    row = board_row(method.name.partition("/")[2], board)
    if not board or not row:
        return []
    over = f", {row[3]} {board[1][0][3]}" if row[3] else ""
    cost = f"; {board[1][0][4]} {row[4]} (FLOPs)" if row[4] else ""
    said = (
        f"On the common miniature (`kdrun reproduce {board[0]}`): rank {row[0]}, {board[1][0][2]} {row[2]}{over}{cost}."
    )
    return ["## Cost and place", "", said, ""]


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def used_parts(path: Path, content: Any) -> list[tuple[str, str]]:
    """The functions and models that a method names, with those of its add-ons, in order."""
    found: dict[tuple[str, str], None] = {}

    def visit(value: Any) -> None:
        if isinstance(value, dict):
            for kind in ("op", "model"):
                if isinstance(value.get(kind), str) and value[kind] in CATALOG.names(kind):
                    found[kind, value[kind]] = None
            for inner in value.values():
                visit(inner)

    visit(content.get("graph"))
    for entry in content.get("defaults", []):
        if isinstance(entry, str) and entry.startswith("/"):
            visit(read(ROOT / "conf" / f"{entry.lstrip('/')}.yaml").content.get("graph"))
    return list(found)


def board_of(protocol: str, results: dict[str, Any]) -> tuple[str, list[Any]] | None:
    """The recipe of the protocol's leaderboard and its recorded header and rows."""
    for recipe in recipe_files():
        content = read(recipe.path).content
        if content.get("leaderboard") and {"override /protocol": protocol} in (content.get("defaults") or []):
            board = (results.get(recipe.name) or {}).get("leaderboard")
            if board:
                return recipe.name, [board[0], *board[1]]
    return None


def board_row(name: str, board: tuple[str, list[Any]] | None) -> list[str] | None:
    arm = {"none": "ce"}.get(name, name)
    return next((row for row in board[1][1:] if row[1] in (arm, name)), None) if board else None


def method_index(found: list[Method], results: dict[str, Any]) -> str:
    lines = [
        "# Methods",
        "",
        "Each is a file in `conf/transfer/PROTOCOL/`, tried on any data and models that its protocol fits by `transfer=NAME`",
        "(`kdrun list methods PROTOCOL` says what each reads). Figures are those of the protocol's leaderboard, where it has been run.",
    ]
    for protocol in dict.fromkeys(method.protocol for method in found):
        says, _ = comments(group_options("protocol")[protocol])
        board = board_of(protocol, results)
        lines += [
            "",
            f"## {protocol}",
            "",
            f"{_sentence(says)} `kdrun reproduce {board[0]}`." if board else _sentence(says),
            "",
        ]
        lines += [
            f"| method | what it does | rank | {board[1][0][2] if board else ''} | {board[1][0][4] if board else ''} |",
            "|---|---|---|---|---|",
        ]
        for method in found:
            if method.protocol == protocol:
                short = method.name.partition("/")[2]
                row = board_row(short, board) or ["", "", "", "", ""]
                lines.append(f"| [`{short}`]({method.name}.md) | {method.says} | {row[0]} | {row[2]} | {row[4]} |")
    return "\n".join(lines) + "\n"


INDEX = """# Papers

Verdicts are those of `kdrun reproduce RECIPE` at `scale=small`. The distance is how far what a claim speaks of lies beyond its threshold, above 0 as
claimed, with its 95 % interval over seeds: of differences paired by seed, or of a ratio of means. [Verdicts](grammar.md#verdicts) says how they come about.
✓ reproduced, ✗ contradicted, = equal within the stated margin, ? undecided, – not testable here; · not judged as it now reads. A verdict stands here only
under the sentence that it was found for.
"""

UNJUDGED = "·"


def paper_index(results: dict[str, Any]) -> str:
    lines = [
        INDEX,
        f"| recipe | paper | fidelity | main | {' | '.join(MARKS.values())} |",
        "|---" * (4 + len(MARKS)) + "|",
    ]
    details: list[str] = []
    for path in sorted((ROOT / "recipes").rglob("*.yaml")):
        name = path.relative_to(ROOT / "recipes").with_suffix("").as_posix()
        content = read(path).content
        paper, claims = content.get("paper") or {}, content.get("claims") or {}
        found = results.get(name)
        verdicts = judged(claims, found["verdicts"] if found else [])
        counts = [str(sum(v["outcome"] == o for v in verdicts)) if found else "" for o in MARKS]
        main = " ".join(MARKS.get(v["outcome"], UNJUDGED) for v in verdicts if v["kind"] == "main")
        title = _paper(paper) if paper else _sentence(comments(path)[0])
        lines.append(f"| `{name}` | {title} | {paper.get('fidelity', '')} | {main} | {' | '.join(counts)} |")
        if found:
            note = f"{found['seeds']} seeds. {paper.get('note', '')}".strip()
            details += [
                "",
                f"## {name}",
                "",
                note,
                "",
                "| | kind | claim | distance | interval | |",
                "|---|---|---|---|---|---|",
            ]
            details += [*(_claim_row(v) for v in verdicts), *_arms(found)]
    return "\n".join(lines + details) + "\n"


def _arms(found: dict[str, Any]) -> list[str]:
    """Every arm's means and budget, and the arms ahead of the method that no claim reads, where they were recorded."""
    lines: list[str] = []
    for word in ("arms", "budgets"):
        if found.get(word):
            header, rows = found[word]
            lines += [
                "",
                f"| {' | '.join(header)} |",
                "|---" * len(header) + "|",
                *(f"| {' | '.join(row)} |" for row in rows),
            ]
    if found.get("unclaimed"):
        lines += ["", *(f"- {line}" for line in found["unclaimed"])]
    if found.get("tuned"):
        lines += ["", _tuned(found["tuned"])]
    return lines


def _tuned(told: dict[str, Any]) -> str:
    """What was chosen on validation rows, beside the best mean and the next one: a tie may fall otherwise on another processor."""
    chosen = []
    for arm, value in told["chosen"].items():
        means = sorted(
            (m for m in told["means"][arm] if m is not None), reverse=told["objective"].startswith("maximize")
        )
        best = told["means"][arm][told["values"].index(value)]
        others = [m for m in means if m != best][:1]
        chosen.append(f"{arm} {value} ({best:.4g}{''.join(f', next {m:.4g}' for m in others)})")
    seeds = ", ".join(map(str, told["seeds"]))
    return f"`{told['knob']}` tuned on validation rows to {told['objective']}, seeds {seeds}: {'; '.join(chosen)}."


def _paper(paper: dict[str, Any]) -> str:
    arxiv = paper.get("arxiv")
    said = [str(paper["year"])] if paper.get("year") else []
    said += [f"[{arxiv}](https://arxiv.org/abs/{arxiv})"] if arxiv else []
    return f"{paper['title']} ({', '.join(said)})" if said else str(paper["title"])


def _claim_row(v: dict[str, Any]) -> str:
    """A line of a recipe's table. Results of before there were p-values have no last entry."""
    if v["outcome"] not in MARKS:
        return f"| {UNJUDGED} | {v['kind']} | {v['says']} (`{v['test']}`) | | | |"
    numbers = [v["distance"], v["low"], v["high"]]
    distance, low, high = ("" if x is None else number(x, "+") for x in numbers)
    said = []
    if v.get("means"):
        said.append(f"means {', '.join(number(x) for x in v['means'].values() if x is not None)}")
    if v.get("held") is not None:
        said.append(f"{v['held']} of {v['seeds']} seeds")
    if v.get("adjusted_p") is not None:
        said.append(f"p {v['adjusted_p']:.2g}")
    if v.get("seeds_needed"):
        said.append(f"{v['seeds_needed']} seeds would decide")
    said += [v["note"]] if v.get("note") else []
    interval = f"[{low}, {high}]" if low else ""
    return f"| {MARKS[v['outcome']]} | {v['kind']} | {v['says']} (`{v['test']}`) | {distance} | {interval} | {'; '.join(said)} |"


if __name__ == "__main__":
    main()
