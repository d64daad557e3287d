"""What ``predict`` and ``evaluate`` share: their arguments, and how rows are written."""

from __future__ import annotations

import csv
import io
import json
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kdrun.commands.arguments import Parser, parse, plugins_alone
from kdrun.commands.output import say
from kdrun.errors import InputError, printable

__all__ = ["as_text", "asked", "student_parser", "tell_broken", "write_rows"]

ENDINGS = ("csv", "json")


def student_parser(command: str, description: str, folder: str) -> Parser:
    """A parser for ``kdrun COMMAND EXPORT_OR_RUN FOLDER``; ``folder`` says what is expected there."""
    parser = Parser(prog=f"kdrun {command}", description=description)
    parser.add_argument("source", metavar="export_or_run", help="what kdrun export wrote, or the folder of a run")
    parser.add_argument("folder", help=folder)
    parser.add_argument(
        "overrides", nargs="*", help="plugins=[...] if the model's code is in a plug-in, which is then trusted"
    )
    parser.add_argument("--output", help="a file for what is said of each image: .csv or .json")
    parser.add_argument("--top", type=_count, default=1, metavar="K", help="the likeliest classes to name (default: 1)")
    parser.add_argument("--skip-broken", action="store_true", help="name broken images and go on")
    parser.add_argument("--stage", default="fit_student", help="of a run, a stage that gives a model")
    parser.add_argument("--role", help="which of its models (default: its main one)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or mps (default: cpu)")
    parser.add_argument("--batch-size", type=_count, default=64)
    parser.add_argument("--trust", action="store_true", help="load a .pt2 file, which is a program")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"expected a number from 1 on, got '{text}'")
    return int(text)


def asked(parser: Parser, arguments: Sequence[str]) -> tuple[Namespace, dict[str, Any]]:
    """What was said, and of it what ``kdrun.api`` takes."""
    options = parse(parser, arguments)
    if options.output and Path(options.output).suffix.removeprefix(".") not in ENDINGS:
        raise InputError(f"--output is a .csv or .json file, got {options.output}")
    plugins = plugins_alone(options.overrides, "a trained student says how images are prepared")
    told = {name: getattr(options, name) for name in ("top", "skip_broken", "stage", "role", "device", "batch_size")}
    return options, {**told, "plugins": plugins, "trusted": options.trust}


def tell_broken(broken: Sequence[str]) -> None:
    """Name on standard error the images that were left out."""
    for text in broken:
        say(f"kdrun: left out: {printable(text)}", file=sys.stderr)


def as_text(rows: Sequence[Mapping[str, Any]], kind: str) -> str:
    """Rows with the same columns as CSV, or as a list in JSON."""
    if kind == "json":
        return json.dumps(list(rows), indent=2, ensure_ascii=False) + "\n"
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]) if rows else ["file", "class", "probability"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def write_rows(rows: Sequence[Mapping[str, Any]], output: str, more: Mapping[str, Any] | None = None) -> str:
    """Write a CSV or JSON file by the ending of its name; JSON has ``more`` and the rows under ``images`` if there is more."""
    path = Path(output).expanduser()
    kind = path.suffix.removeprefix(".")
    whole = json.dumps({**more, "images": list(rows)}, indent=2, ensure_ascii=False) + "\n" if more else None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(whole if whole and kind == "json" else as_text(rows, kind), encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from None
    return f"{path}  ({len(rows)} images)"
