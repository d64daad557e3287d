"""Who tells what happens: a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys

from kdrun.runtime import spinner
from kdrun.runtime.progress import PlainReporter, QuietReporter, Reporter

__all__ = ["make_reporter"]


def make_reporter(prefix: str = "", *, quiet: bool = False) -> Reporter:
    """A live view on a terminal, plain lines elsewhere: until the first of these, the sign of life may still come."""
    if quiet or sys.stderr.isatty():
        spinner.end()
    if quiet:
        return QuietReporter()
    if not sys.stderr.isatty():
        return PlainReporter(prefix)
    from kdrun.runtime.live import LiveReporter

    return LiveReporter(prefix)
