"""A sign of life from the first moment on, while the program itself is still being read. Standard library alone."""

from __future__ import annotations

import itertools
import sys
import threading

__all__ = ["begin", "end"]

FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"

PATIENCE = 0.5
"""Seconds after which a line is said where nothing can turn; what is over before says nothing."""

_over = threading.Event()
_thread: threading.Thread | None = None


def begin(text: str) -> None:
    """Turn beside a text on a terminal, until ``end``; elsewhere say in a line, after a moment, that it is being made ready."""
    global _thread
    if _thread is not None:
        return
    encoding = (getattr(sys.stderr, "encoding", None) or "").lower()
    turns = sys.stderr.isatty() and encoding.startswith("utf")
    _over.clear()
    _thread = threading.Thread(target=_turn if turns else _say, args=(text,), daemon=True)
    _thread.start()


def _say(text: str) -> None:
    if not _over.wait(PATIENCE):
        sys.stderr.write(f"{text}: reading the recipe, making ready\n")
        sys.stderr.flush()


def _turn(text: str) -> None:
    for frame in itertools.cycle(FRAMES):
        sys.stderr.write(f"\r{frame} {text}")
        sys.stderr.flush()
        if _over.wait(0.1):
            break
    sys.stderr.write("\r\x1b[K")
    sys.stderr.flush()


def end() -> None:
    """Take it away, if it is there."""
    global _thread
    if _thread is not None:
        _over.set()
        _thread.join()
        _thread = None
