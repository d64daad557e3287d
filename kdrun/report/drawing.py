"""What plots share: one style, colours, names as text, and SVG of the same bytes for the same numbers."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from typing import Any

from kdrun.errors import printable

__all__ = ["COLORS", "as_svg", "figure_of", "own_style", "plain"]

COLORS = ("#3b6fb6", "#d1702d", "#4f9a5b", "#b04a5a", "#7b5ea7", "#8c6d46", "#3f9aa8", "#888888")
STYLE = {
    "svg.hashsalt": "kdrun",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


LINES, DIGITS = re.compile(r' d="[^"]*"'), re.compile(r"(\.\d\d)\d+")
"""The lines of a drawing, and digits of theirs that nobody sees."""


@contextlib.contextmanager
def own_style() -> Iterator[None]:
    """Draw in one style, whatever the program around sets, and leave it its own."""
    import matplotlib.style

    with matplotlib.style.context(["default", STYLE]):
        yield


def figure_of(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def as_svg(figure: Any) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return LINES.sub(lambda found: DIGITS.sub(r"\1", found[0]), text[text.index("<svg") :])


def plain(name: str) -> str:
    """A name as it reads: what matplotlib would take for mathematics, or for a line that is left out of the legend, is none."""
    shown = printable(name, line=True).replace("$", r"\$")
    return f"\u200a{shown}" if shown.startswith("_") else shown
