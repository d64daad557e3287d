"""The docstrings that serve as text."""

from __future__ import annotations

from kdrun.data.docstrings import docstrings


def test_docstrings_are_cut_to_length_and_come_once() -> None:
    first, second = docstrings(2000, 1000)
    assert (len(first), len(second)) == (2000, 1000)
    pieces = {p for p in first.split("\n\n") if len(p) > 80}
    assert pieces
    assert not pieces & set(second.split("\n\n"))
