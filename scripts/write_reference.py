"""The reference of parts, docs/reference/, made of the registry: signatures and docstrings, a page a family.

python scripts/write_docs.py writes them with the other generated pages. The same sources give the same bytes.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from kdrun.registry import BY_KINDS, Catalog, Part
from kdrun.registry.describe import node_text, place, signature_text

__all__ = ["pages"]

KINDS = {
    "op": ("Ops", "tensor functions, in step graphs by `op`, and in run graphs on whole tensors"),
    "metric": ("Metrics", "scores of an `evaluate` or `measure` stage, under `metrics`"),
    "model": ("Models", "networks: a `teacher`, a `student`, or one of a stage's `models`"),
    "data": ("Data", "sources of data sets, whose splits are fields: `data.train`"),
    "transform": ("Transforms", "augmentations of a batch, under `augment` of the data"),
    "sampler": ("Samplers", "which rows make a batch, under `sampler` of a train stage"),
    "stage": ("Stages", "nodes of the run graph"),
    "optimizer": ("Optimizers", "what moves the weights: the group `optimizer`, or an update's own"),
    "schedule": ("Schedules", "functions of training progress, for rates, weights of losses and parameters"),
    "gradient": (
        "Gradient transforms",
        "changes of gradients before the optimizer's step, under `gradient` of an update",
    ),
    "space": ("Spaces", "what a `search` stage searches"),
    "strategy": ("Strategies", "how a `search` stage searches"),
    "tracker": ("Trackers", "where curves are sent: the group `tracker`"),
    **{kind: (f"Stage: {kind}", f"what the stage `{kind}` does, named by `by`") for kind in BY_KINDS},
}
"""A title for each kind, and what its parts are for."""


def pages() -> dict[str, str]:
    """The text of each page by its path below docs/reference."""
    by_kind: dict[str, list[Part]] = {}
    for part in sorted(Catalog(()), key=lambda p: (list(KINDS).index(p.kind), p.module, p.line)):
        by_kind.setdefault(part.kind, []).append(part)
    found = {}
    for kind, parts in by_kind.items():
        if kind == "op":
            names = dict.fromkeys(_short(part.module) for part in parts)
            found.update({f"op/{n}.md": _family_page([p for p in parts if _short(p.module) == n]) for n in names})
        else:
            found[f"{kind}.md"] = _kind_page(kind, parts)
    return {"README.md": _index(by_kind), **found}


def _short(module: str) -> str:
    return module.rpartition(".")[2]


def _modules(parts: Sequence[Part]) -> Iterator[tuple[str, list[Part]]]:
    """The parts of each module, in the order in which they stand."""
    for module in dict.fromkeys(part.module for part in parts):
        yield module, [part for part in parts if part.module == module]


def _index(by_kind: Mapping[str, Sequence[Part]]) -> str:
    lines = [
        "# Reference",
        "",
        "Every registered part, by kind: what a recipe may name. `kdrun explain KIND NAME` says the same in a terminal, with",
        "the recipes and methods that use it. In a signature, what stands before `*` is bound by `from`, in this order or by",
        "name; what follows are parameters. Where a part takes `context` or `generator`, the engine supplies them.",
    ]
    for kind, parts in by_kind.items():
        title, says = KINDS[kind]
        lines += ["", f"## {title}", "", f"{says[0].upper()}{says[1:]}.", ""]
        for module, own in _modules(parts):
            page = f"op/{_short(module)}.md" if kind == "op" else f"{kind}.md"
            links = ", ".join(f"[`{p.name}`]({page}#{p.name})" for p in sorted(own, key=lambda p: p.name))
            lines.append(f"- [{_title(module)}]({page}{'' if kind == 'op' else f'#{_anchor(module)}'}): {links}")
    return "\n".join(lines) + "\n"


def _title(module: str) -> str:
    return _short(module).replace("_", " ").capitalize()


def _anchor(module: str) -> str:
    return _title(module).lower().replace(" ", "-")


def _family_page(parts: Sequence[Part]) -> str:
    """The ops of the modules of one name, which may stand on several floors."""
    lines = [f"# Ops: {_title(parts[0].module).lower()}", ""]
    for _, own in _modules(parts):
        lines += [f"In `{place(own[0])}`. {_intro(own[0])}", ""]
        lines += [line for part in own for line in _entry(part, "##")]
    return "\n".join(lines).rstrip() + "\n"


def _kind_page(kind: str, parts: Sequence[Part]) -> str:
    title, says = KINDS[kind]
    lines = [f"# {title}", "", f"{says[0].upper()}{says[1:]}.", ""]
    for module, own in _modules(parts):
        lines += [f"## {_title(module)}", "", f"In `{place(own[0])}`. {_intro(own[0])}", ""]
        lines += [line for part in own for line in _entry(part, "###")]
    return "\n".join(lines).rstrip() + "\n"


def _intro(part: Part) -> str:
    """The docstring of the part's module, without a blank line at its end."""
    return "\n".join(prose(ast.get_docstring(ast.parse(Path(part.file).read_text(encoding="utf-8"))) or "")).rstrip()


def _entry(part: Part, level: str) -> Iterator[str]:
    yield from (f"{level} {part.name}", "", "```python", signature_text(part), "```", "")
    yield from prose(part.doc)
    if part.options.get("fields"):
        yield from (f"Fields: {', '.join(f'`{f}`' for f in part.options['fields'])}.", "")
    if part.options.get("extra"):
        yield from (f"Needs `pip install 'kdrun[{part.options['extra']}]'`.", "")
    if part.kind != "tracker":
        yield from (
            "```yaml",
            f"{'' if part.kind in ('model', 'data', 'metric') else 'name: '}{node_text(part)}",
            "```",
            "",
        )


def prose(doc: str) -> Iterator[str]:
    """A docstring as Markdown: examples and indented blocks fenced, names between double backticks as code."""
    block: list[str] = []
    for line in [*doc.strip().split("\n"), ""]:
        if line.strip():
            block.append(line)
        elif block:
            yield from _paragraph(block)
            yield ""
            block = []


def _paragraph(block: Sequence[str]) -> Iterator[str]:
    if block[0].lstrip().startswith(">>>"):
        yield from ("```python", *_dedented(block), "```")
    elif all(line.startswith("    ") for line in block):
        yield from ("```text", *_dedented(block), "```")
    else:
        yield from (_escaped(line) for line in block)


def _dedented(block: Sequence[str]) -> list[str]:
    indent = min(len(line) - len(line.lstrip()) for line in block)
    return [line[indent:].rstrip() for line in block]


def _escaped(line: str) -> str:
    """One line of prose: code spans stay, what Markdown would read as markup outside of them is escaped."""
    pieces = re.split(r"``(.+?)``", line.rstrip())
    text = [p if i % 2 else re.sub(r"([*_|])", r"\\\1", p.replace("<", "&lt;")) for i, p in enumerate(pieces)]
    return "".join(f"`{p}`" if i % 2 else p for i, p in enumerate(text)).replace("::", ":")
