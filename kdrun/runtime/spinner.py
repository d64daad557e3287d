"""Something that moves from the first moment on, while the program itself is still being read. Standard library alone."""

from __future__ import annotations

import itertools
import sys
import threading

__all__ = ["begin", "end"]

FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"

_over = threading.Event()
_thread: threading.Thread | None = None


def begin(text: str) -> None:
    """Turn beside a text on a terminal, until ``end``; elsewhere nothing is said."""
    global _thread
    encoding = (getattr(sys.stderr, "encoding", None) or "").lower()
    if _thread is not None or not sys.stderr.isatty() or not encoding.startswith("utf"):
        return
    _over.clear()
    _thread = threading.Thread(target=_turn, args=(text,), daemon=True)
    _thread.start()


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
