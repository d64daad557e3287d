"""What commands print: text of files, records and stores shows itself and does nothing else."""

from __future__ import annotations

from typing import TextIO

from kdrun.errors import printable
from kdrun.runtime.console import write

__all__ = ["say"]


def say(text: object = "", *, file: TextIO | None = None, end: str = "\n") -> None:
    """Print a text, with characters that steer a terminal written out."""
    write(printable(text), file, end=end)
