"""``kdrun plan RECIPE``: shapes, gradients, parameters, FLOPs, memory and keys, with no data and no weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kdrun.commands.arguments import parse, recipe_parser, take
from kdrun.config.compose import Composer

__all__ = ["main"]


def main(arguments: Sequence[str]) -> int:
    parser = recipe_parser("plan", "Plan a recipe on fake tensors: scale=paper works with no data and no weights.")
    parser.add_argument("--arm", help="plan this arm instead of the recipe as it stands")
    parser.add_argument("--shapes", action="store_true", help="print the shape of every node's value")
    options = parse(parser, arguments)
    scale, overrides = take(options.overrides, "scale")
    experiment = Composer.named(options.recipe, overrides).compose(arm=options.arm, scale=scale)
    from kdrun.engine.session import Session

    session = Session(experiment)
    _print(session, session.plan(), shapes=options.shapes)
    return 0


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
            _si(stage.flops) if stage.flops else "",
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
    open_ended = any(stage.flops and stage.steps is None and stage.kind == "train" for stage in found.stages)
    console.print(f"training in all: {'more than ' if open_ended else ''}{_si(found.total_flops)}FLOPs")


def _si(value: float | None) -> str:
    """A count with a unit prefix: 1.5M."""
    if value is None:
        return ""
    for unit in ("", "k", "M", "G", "T", "P", "E"):
        if abs(value) < 1000:
            return f"{value:.3g}{unit}" if unit or value != int(value) else f"{int(value)}"
        value /= 1000
    return f"{value:.3g}Z"
