"""Writing to a terminal that may be closed while a run goes on: what is said from then on is lost, and the run is not."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import Any, TextIO

__all__ = ["Lasting", "write"]


def write(text: str, file: TextIO | None = None, *, end: str = "\n", flush: bool = False) -> None:
    """``print``, which says nothing more once the terminal is gone. Raises ``BrokenPipeError`` where a program has read enough."""
    stream = sys.stdout if file is None else file
    try:
        print(text, file=stream, end=end, flush=flush)
    except OSError as error:
        _give_up(stream, error)


def _give_up(stream: TextIO, error: OSError) -> None:
    """Lead to nowhere what is written to a terminal that is gone. Raises any other error."""
    if error.errno != errno.EIO:
        raise error
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


class Lasting:
    """A stream for a library that writes by itself, which takes everything once its terminal is gone."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        try:
            return self.stream.write(text)
        except OSError as error:
            _give_up(self.stream, error)
            return len(text)

    def flush(self) -> None:
        try:
            self.stream.flush()
        except OSError as error:
            _give_up(self.stream, error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)
