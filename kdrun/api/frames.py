"""Tables for programs: rows as pandas data frames, and mappings whose values are made when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from kdrun.engine.packing import arrow_table
from kdrun.errors import InputError, nearest

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["OnDemand", "data_frame"]

T = TypeVar("T")


class OnDemand(Mapping[str, T]):
    """A mapping with known names, whose values ``make`` gives anew each time. ``what`` says in errors what they are."""

    def __init__(self, names: Sequence[str], make: Callable[[str], T], what: str) -> None:
        self._names, self._make, self._what = list(names), make, what

    def __getitem__(self, name: str) -> T:
        if name not in self._names:
            known = ", ".join(self._names) or "none"
            raise InputError(f"there is no {self._what} '{name}'{nearest(name, self._names)}; there are: {known}")
        return self._make(name)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return f"<{self._what}s: {', '.join(self._names) or 'none'}>"


def data_frame(rows: Sequence[Mapping[str, Any]], index: str | None = None) -> DataFrame:
    """Rows as a data frame, perhaps with one column as its index. Raises ``InputError`` if pandas is missing."""
    try:
        import pandas  # noqa: F401
    except ImportError:
        raise InputError("data frames need an extra: pip install 'kdrun[notebook]'") from None
    frame = arrow_table(rows).to_pandas()
    return frame if index is None else frame.set_index(index)
