"""``kdrun report RECIPE [scale=...]``: draw the page again from the store, without computing anything."""

from __future__ import annotations

from collections.abc import Sequence

from kdrun.commands import reproduce_

__all__ = ["main"]


def main(arguments: Sequence[str]) -> int:
    """The same as ``reproduce``: what is in the store is read, and what is missing is computed."""
    return reproduce_.main(arguments)
