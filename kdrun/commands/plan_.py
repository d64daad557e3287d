"""``kdrun plan RECIPE``: shapes, gradients, parameters, FLOPs, memory and keys, with no data and no weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kdrun.commands.arguments import chosen, parse, recipe_parser
from kdrun.commands.check_ import check_statements
from kdrun.config.miniature import still_small

__all__ = ["main"]


def main(arguments: Sequence[str]) -> int:
    parser = recipe_parser("plan", "Plan a recipe on fake tensors: scale=paper works with no data and no weights.")
    parser.add_argument("--shapes", action="store_true", help="print the shape of every node's value")
    options = parse(parser, arguments)
    composer, selection = chosen(options)
    composer.every_arm = selection.arm is None
    experiment = composer.compose(arm=selection.arm, scale=selection.scale)
    if selection.arm is None:
        check_statements(composer, experiment, selection.scale)
    from kdrun.engine.session import Session

    session = Session(experiment)
    _print(session, session.plan(), shapes=options.shapes)
    if selection.scale not in (None, "small", "smoke"):
        _print_small(still_small(composer, selection.arm, selection.scale), selection.scale)
    return 0


def _print_small(values: Sequence[tuple[str, Any, str]], scale: str) -> None:
    """Values that the scale leaves as they are in the miniature, with the place where each stands."""
    print(
        f"as in the miniature, not set by scale {scale}:"
        if values
        else f"scale {scale} sets all that the miniature sets"
    )
    for key, value, where in values:
        print(f"  {key}: {value}  ({where})")


def _print(session: Any, found: Any, *, shapes: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("stage", "kind", "parameters", "FLOPs a step", "steps", "weights and state", "key", "stored"):
        table.add_column(title, justify="left" if title in ("stage", "kind", "key", "stored") else "right")
    for stage in found.stages:
        table.add_row(
            stage.name,
            stage.kind,
            " ".join(f"{role} {_si(count)}" for role, count in stage.parameters.items()),
            "not planned" if stage.unplanned else "" if stage.flops is None else _si(stage.flops),
            f"{stage.steps:,}" if stage.steps else "",
            f"{_si(stage.memory)}B" if stage.memory else "",
            stage.key[:10],
            "yes" if session.store.contains(stage.key) else "no",
        )
    console = Console(width=None if Console().is_terminal else 160)
    console.print(table)
    for stage in found.stages:
        for note in stage.notes:
            console.print(f"{stage.name}: {note}", highlight=False)
        if shapes:
            for name, shape in stage.shapes.items():
                console.print(f"  {stage.name}.{name}: {shape}", highlight=False)
    console.print(_total(found))


def _total(found: Any) -> str:
    """FLOPs of all training steps, or that some or all of them are not planned."""
    training = [stage for stage in found.stages if stage.kind == "train"]
    unplanned = [s for s in training if s.unplanned or (s.flops and s.steps is None)]
    if not training:
        return "nothing is trained"
    if len(unplanned) == len(training):
        return f"training in all: not planned ({len(training)} stages wait for what is known only when others have run)"
    more = f", and {len(unplanned)} stages that are not planned" if unplanned else ""
    return f"training in all: {_si(found.total_flops)}FLOPs{more}"


def _si(value: float | None) -> str:
    """A count with a unit prefix: 1.5M."""
    if value is None:
        return ""
    for unit in ("", "k", "M", "G", "T", "P", "E"):
        if abs(value) < 1000:
            return f"{value:.3g}{unit}" if unit or value != int(value) else f"{int(value)}"
        value /= 1000
    return f"{value:.3g}Z"
