"""The model card that goes with an exported model: what it is, what it reads, what it was trained from, and how good it was."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from kdrun import __version__
from kdrun.config.writing import yaml_text
from kdrun.errors import written_out

__all__ = ["model_card"]

USE = """```python
from pathlib import Path

import torch

from kdrun.models.exported import opened

about, classifier = opened(Path("{name}"), torch.device("cpu"))
logits = classifier({example})
```"""

SHOWN = ("mean", "std", "resize", "background", "mask", "target_mean", "target_std")
"""What is said of the preparation of the input, in this order."""


def model_card(
    name: str, spec: Mapping[str, Any], read: Mapping[str, Any], run: Mapping[str, Any] | None = None
) -> str:
    """Markdown with the header that model hubs read. ``name``: of the file; ``run``: the record of the run, if there is one."""
    run = run or {}
    header = {
        "library_name": "kdrun",
        "tags": [t for t in ("knowledge-distillation", str(run.get("method") or "").replace("/", "-")) if t],
    }
    heading = f"# {name}\n\nA `{_plain(spec.get('model'))}` trained and exported by kdrun {__version__}."
    pieces = [f"---\n{yaml_text(header)}---", heading, *_origin(run), *_metrics(run)]
    pieces += [*_reads(read), _use(name, read)]
    pieces.append(f"## Model\n\n```json\n{json.dumps(dict(spec), indent=2, sort_keys=True)}\n```")
    return "\n\n".join(pieces) + "\n"


def _plain(value: Any) -> str:
    return written_out(str(value), line=True)


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    cells = [[_plain(cell).replace("|", "\\|") for cell in row] for row in rows]
    lines = [list(header), ["---"] * len(header), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _origin(run: Mapping[str, Any]) -> list[str]:
    names = ("recipe", "method", "arm", "scale", "seed", "started")
    rows = [[name, run[name]] for name in names if run.get(name) not in (None, "")]
    rows += [["overrides", " ".join(map(str, run["overrides"]))]] if run.get("overrides") else []
    return [f"## Where it comes from\n\n{_table(['', 'run'], rows)}"] if rows else []


def _metrics(run: Mapping[str, Any]) -> list[str]:
    metrics = run.get("metrics") or {}
    rows = [[name, format(value, ".4g")] for name, value in sorted(metrics.items())]
    return [f"## Measured\n\nIn the one run that it comes from.\n\n{_table(['metric', 'value'], rows)}"] if rows else []


def _reads(read: Mapping[str, Any]) -> list[str]:
    if not read:
        return []
    shape = ", ".join(map(str, read.get("shape") or ()))
    rows = [["input", f"`{read.get('column')}` [batch, {shape}], {read.get('dtype')}"]]
    rows += [[word, read[word]] for word in SHOWN if read.get(word) is not None]
    classes = read.get("classes")
    rows += [["classes", ", ".join(map(str, classes))]] if classes else []
    return [f"## What it reads\n\n{_table(['', ''], rows)}"]


def _use(name: str, read: Mapping[str, Any]) -> str:
    shape = [1, *(read.get("shape") or ())]
    example = f"torch.zeros({shape}, dtype=torch.{read.get('dtype', 'float32')})"
    return f"## Use\n\n{USE.format(name=name, example=example)}"
