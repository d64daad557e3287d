"""Write docs/methods/ (a page a transfer method) and docs/papers.md (an index with verdicts).

python scripts/write_docs.py [--runs FOLDER]

Pages come from the comments and knobs of conf/transfer, the docstrings of the functions that a method names, and the
recipes. With --runs, the verdicts, figures and costs of the reproductions in that folder are written down as well, in
docs/results.json; without it those of the last time are used.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import yaml

from kdrun.claims.statistics import mean_interval
from kdrun.config.paths import group_options
from kdrun.registry import catalog

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "results.json"
MARKS = {"reproduced": "✓", "contradicted": "✗", "undecided": "?"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--runs", type=Path, help="folder of reproductions whose results to write down")
    options = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if options.runs:
        results.update(collected(options.runs))
        RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    folder = ROOT / "docs" / "methods"
    folder.mkdir(exist_ok=True)
    methods = {name: path for name, path in group_options("transfer").items() if name != "own"}
    for stale in set(folder.glob("*.md")) - {folder / f"{name}.md" for name in [*methods, "README"]}:
        stale.unlink()
    for name, path in methods.items():
        (folder / f"{name}.md").write_text(method_page(name, path, results))
    (folder / "README.md").write_text(method_index(methods, results))
    (ROOT / "docs" / "papers.md").write_text(paper_index(results))


def collected(runs: Path) -> dict[str, Any]:
    """Verdicts, means of each arm and the leaderboard of every reproduction at scale small."""
    found = {}
    for path in sorted(runs.glob("*/reproduce-small/results.json")):
        content = json.loads(path.read_text())
        arms = {
            arm: {
                metric: [
                    round(v, 6)
                    for v in (lambda i: (i.mean, i.half_width))(
                        mean_interval([r[metric] for r in rows.values() if metric in r])
                    )
                ]
                for metric in sorted({m for row in rows.values() for m in row})
            }
            for arm, rows in content["results"].items()
        }
        found[content["recipe"]] = {
            "seeds": max(len(rows) for rows in content["results"].values()),
            "arms": arms,
            "leaderboard": content.get("leaderboard"),
            "verdicts": [
                {
                    "name": v["name"],
                    "says": v["says"],
                    "outcome": v["outcome"],
                    "test": v["test"],
                    "mean": v["interval"]["mean"],
                    "low": v["interval"]["low"],
                    "high": v["interval"]["high"],
                }
                for v in content["verdicts"]
            ],
        }
    return found


def comment_of(path: Path) -> str:
    """The first comment line of a file that is no package header."""
    lines = [line for line in path.read_text().splitlines() if line.startswith("#")]
    return next(line.lstrip("# ").strip() for line in lines if "@package" not in line)


def method_page(name: str, path: Path, results: dict[str, Any]) -> str:
    content = yaml.safe_load(path.read_text())
    knobs = content.get("transfer") or {}
    base = [d for d in content.get("defaults", []) if isinstance(d, str)]
    lines = [f"# `transfer={name}`", "", _sentence(comment_of(path)), ""]
    lines += [
        "```sh",
        f"kdrun run kd transfer={name}",
        f"kdrun plan kd transfer={name} teacher=cifar/resnet56 student=cifar/resnet20 data=cifar100",
        "```",
        "",
    ]
    use = next((t for t in path.read_text().splitlines() if t.startswith("# use:")), None)
    if use:
        lines += ["## When to use", "", _sentence(use.removeprefix("# use:").strip()), ""]
    if base:
        lines += [
            "Builds on "
            + ", ".join(f"[`{b}`]({b}.md)" if not b.startswith("/") else f"`{b.lstrip('/')}`" for b in base)
            + ".",
            "",
        ]
    if knobs:
        lines += ["## Knobs", "", "| knob | default |", "|---|---|"]
        lines += [f"| `transfer.{k}` | `{json.dumps(v)}` |" for k, v in knobs.items()] + [""]
    parts = used_parts(path, content)
    if parts:
        lines += ["## Mathematics", ""]
        for kind, part in parts:
            found = catalog().get(kind, part)
            lines += [
                f"**`{part}`** ({kind}, `{found.module.replace('.', '/')}.py`)",
                "",
                "```text",
                found.doc or "",
                "```",
                "",
            ]
    row = board_row(name, results)
    if row:
        lines += [
            "## Cost and place",
            "",
            f"On the common miniature (`kdrun reproduce zoo`): rank {row[0]}, accuracy {row[2]}"
            + (f", {row[3]} over labels alone" if row[3] else "")
            + f"; an epoch costs {row[4]} that of the student alone (FLOPs).",
            "",
        ]
    lines += ["## The file", "", "```yaml", path.read_text().rstrip(), "```", ""]
    return "\n".join(lines)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def used_parts(path: Path, content: Any) -> list[tuple[str, str]]:
    """The functions and models that a method names, with those of its add-ons, in order."""
    found: dict[tuple[str, str], None] = {}

    def visit(value: Any) -> None:
        if isinstance(value, dict):
            for kind in ("op", "model"):
                if isinstance(value.get(kind), str) and value[kind] in catalog().names(kind):
                    found[kind, value[kind]] = None
            for inner in value.values():
                visit(inner)

    visit(content.get("graph"))
    for entry in content.get("defaults", []):
        if isinstance(entry, str) and entry.startswith("/"):
            visit(yaml.safe_load((path.parent.parent / f"{entry.lstrip('/')}.yaml").read_text()).get("graph"))
    return list(found)


def board_row(name: str, results: dict[str, Any]) -> list[str] | None:
    board = (results.get("distillation/zoo") or {}).get("leaderboard")
    arm = {"none": "ce"}.get(name, name)
    return next((row for row in board[1] if row[1] == arm), None) if board else None


def method_index(methods: dict[str, Path], results: dict[str, Any]) -> str:
    lines = [
        "# Methods",
        "",
        "Each is a file in `conf/transfer/`, tried on any pair by `transfer=NAME`; `+add=norm_direction` goes on top of any that has",
        "a teacher. Rank, accuracy and cost are those of `kdrun reproduce zoo`.",
        "",
        "| method | what moves | rank | accuracy | cost of an epoch |",
        "|---|---|---|---|---|",
    ]
    for name, path in methods.items():
        row = board_row(name, results) or ["", "", "", "", ""]
        lines.append(f"| [`{name}`]({name}.md) | {comment_of(path)} | {row[0]} | {row[2]} | {row[4]} |")
    return "\n".join(lines) + "\n"


def paper_index(results: dict[str, Any]) -> str:
    lines = [
        "# Papers",
        "",
        "Verdicts are those of `kdrun reproduce RECIPE` at `scale=small`: paired differences over seeds, 95 % intervals.",
        "✓ reproduced, ✗ contradicted, ? undecided.",
        "",
        "| recipe | paper | fidelity | ✓ | ✗ | ? |",
        "|---|---|---|---|---|---|",
    ]
    details = []
    for path in sorted((ROOT / "recipes").rglob("*.yaml")):
        name = path.relative_to(ROOT / "recipes").with_suffix("").as_posix()
        paper = yaml.safe_load(path.read_text()).get("paper") or {}
        found = results.get(name)
        counts = [str(sum(v["outcome"] == o for v in found["verdicts"])) if found else "" for o in MARKS]
        title = f"{paper.get('title', '')} ({paper.get('year', '')}, [{paper.get('arxiv')}](https://arxiv.org/abs/{paper.get('arxiv')}))"
        lines.append(f"| `{name}` | {title} | {paper.get('fidelity', '')} | {' | '.join(counts)} |")
        if found:
            details += [
                "",
                f"## {name}",
                "",
                f"{found['seeds']} seeds. {paper.get('note', '')}".strip(),
                "",
                "| | claim | difference | interval |",
                "|---|---|---|---|",
            ]
            details += [
                f"| {MARKS[v['outcome']]} | {v['says']} (`{v['test']}`) | {v['mean']:+.4f} | [{v['low']:+.4f}, {v['high']:+.4f}] |"
                for v in found["verdicts"]
            ]
    return "\n".join(lines + details) + "\n"


if __name__ == "__main__":
    main()
