"""The live view: what every run is at, for a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Any, cast

from kdrun.errors import printable
from kdrun.runtime.board import Board, Row
from kdrun.runtime.console import Lasting
from kdrun.runtime.progress import Fan, Reporter, duration

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

__all__ = ["LiveReporter", "summary", "view"]

ORDER = ("running", "failed", "waiting", "finished")
"""Whose rows are shown first where there is no room for all."""

MARKS = {"waiting": "·", "finished": "✓", "failed": "✗"}


class LiveReporter(Fan):
    """A row a run with its stage, rate and time left, drawn anew several times a second, and a line for each stage that is over."""

    def __init__(self, prefix: str = "", console: Console | None = None) -> None:
        from rich.console import Console
        from rich.live import Live

        self.prefix = printable(prefix, line=True)
        self.console = console or Console(file=cast(IO[str], Lasting(sys.stderr)))
        self.board = Board()
        self.live = Live(get_renderable=self._view, console=self.console, transient=True, refresh_per_second=8)
        super().__init__(self.board, _Lines(self.console, self.prefix))
        self.live.start()

    def _view(self) -> RenderableType:
        return view(
            self.board.rows(),
            self.board.left(),
            time.time() - self.board.started,
            prefix=self.prefix,
            height=self.console.height,
        )

    def of(self, label: str) -> Reporter:
        return Fan(self.board.of(label), _Lines(self.console, self.prefix + label + " "))

    def close(self) -> None:
        self.live.stop()


class _Lines(Reporter):
    """A line for each stage that is over, and for each message."""

    def __init__(self, console: Console, prefix: str) -> None:
        self.console, self.prefix = console, prefix

    def _print(self, mark: str, style: str, name: str, after: str = "") -> None:
        from rich.text import Text

        text = Text.assemble((mark, style), " ", self.prefix + printable(name, line=True), (after, "dim"))
        self.console.print(text, highlight=False)

    def stage_finished(self, name: str, seconds: float) -> None:
        self._print("✓", "green", name, f" {seconds:.1f} s")

    def message(self, text: str) -> None:
        self._print("•", "yellow", text)


def view(
    rows: Sequence[Row], left: float | None, elapsed: float, *, prefix: str = "", height: int = 25, title: str = ""
) -> RenderableType:
    """The rows as a table, with as many as there is room for, and a line for all together where there are several."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    room = max(height - 4, 3)
    shown = sorted(rows, key=lambda row: ORDER.index(row.state))[:room]
    table = Table.grid(padding=(0, 1))
    for style in ("", "bold", "", "", "", "", "dim"):
        table.add_column(style=style, no_wrap=True, overflow="ellipsis")
    for row in (row for row in rows if row in shown):
        table.add_row(*_cells(row, prefix))
    lines = [title] if title else []
    if len(shown) < len(rows):
        lines.append(f"… and {len(rows) - len(shown)} more runs")
    single = len(rows) == 1 and not rows[0].label
    total = summary(rows, left, elapsed) if not single or (left is not None and rows[0].stages > 1) else ""
    return Group(table, *(Text(line) for line in [*lines, total] if line))


def _cells(row: Row, prefix: str) -> list[Any]:
    from rich.progress_bar import ProgressBar
    from rich.spinner import Spinner
    from rich.text import Text

    mark: Any = Spinner("dots") if row.state == "running" else Text(MARKS.get(row.state, "·"), _style(row))
    label = Text(prefix + printable(row.label, line=True))
    if row.error:
        return [mark, label, Text(printable(row.error, line=True), "red")]
    if row.state != "running":
        return [mark, label, Text(row.state, "dim")]
    counted = f"{row.done}/{row.total}" if row.total else ""
    bar = ProgressBar(total=row.total, completed=row.done, width=16) if row.total else Text("")
    place = f" {min(row.stages_done + 1, row.stages)} of {row.stages}" if row.stages > 1 else ""
    stage = Text(printable(row.stage, line=True)).append(place, "dim")
    left = f"{duration(row.left)} left" if row.left is not None else ""
    figures = printable(" ".join(f"{k} {v:.3f}" for k, v in row.figures.items()), line=True)
    return [mark, label, stage, bar, Text(counted), Text(" ".join(filter(None, (row.rate, left)))), Text(figures)]


def _style(row: Row) -> str:
    return {"finished": "green", "failed": "red"}.get(row.state, "dim")


def summary(rows: Sequence[Row], left: float | None, elapsed: float) -> str:
    """How many runs are in which state, what has passed, and what is left."""
    counts = {state: sum(row.state == state for row in rows) for state in ORDER}
    told = [f"{count} {state}" for state, count in counts.items() if count] if len(rows) > 1 else []
    told.append(f"{duration(elapsed)} so far")
    return ", ".join([*told, *([f"about {duration(left)} left"] if left is not None else [])])
