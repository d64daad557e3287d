"""``kdrun plan RECIPE``: shapes, gradients, parameters, FLOPs, memory and keys, with no data and no weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kdrun.commands.arguments import chosen, parse, recipe_parser
from kdrun.commands.check_ import check_statements
from kdrun.commands.output import say
from kdrun.config.miniature import still_small
from kdrun.errors import printable
from kdrun.report.plan_table import plan_lines, plan_table, plan_total

if TYPE_CHECKING:
    from kdrun.engine.plan import Plan
    from kdrun.engine.session import Session

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
    say(
        f"as in the miniature, not set by scale {scale}:"
        if values
        else f"scale {scale} sets all that the miniature sets"
    )
    for key, value, where in values:
        say(f"  {key}: {value}  ({where})")


def _print(session: Session, found: Plan, *, shapes: bool) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    header, rows = plan_table(found, session.store.contains)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in header:
        table.add_column(title, justify="left" if title in ("stage", "kind", "key", "stored") else "right")
    for row in rows:
        table.add_row(*(escape(printable(cell, line=True)) for cell in row))
    console = Console(width=None if Console().is_terminal else 160)
    console.print(table)
    for line in plan_lines(found, shapes=shapes):
        console.print(printable(line, line=True), highlight=False, markup=False)
    console.print(printable(plan_total(found)), markup=False)
