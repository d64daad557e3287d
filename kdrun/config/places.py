"""Where files that others wrote may lead: the working folder, kdrun's own folder of data, and what the user adds.

The user adds folders by ``KDRUN_READ``, several with the system's separator between them, as in ``PATH``. What the user or the
installed package names outright is read wherever it lies: that is for ``guard`` to know.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from pathlib import Path

from kdrun.errors import InputError, StoreError

__all__ = ["DATA", "VARIABLE", "lies_open", "refuse_led_away", "refuse_links_out", "refuse_way_out", "target"]

DATA = "~/.cache/kdrun/data"
"""Where the installed package's options look for data."""

VARIABLE = "KDRUN_READ"


def target(text: str | Path) -> Path | None:
    """Where a path really leads, through links and from the home folder; None if that cannot be told."""
    try:
        return Path(text).expanduser().resolve()
    except (OSError, RuntimeError, ValueError):  # a circle of links, an unknown user, a zero byte
        return None


def lies_open(found: Path | None, beside: Iterable[Path] = ()) -> bool:
    """Whether a file or folder, as ``target`` gives it, lies where configurations may read, or in a folder ``beside``."""
    return found is not None and any(found.is_relative_to(root) for root in (*_roots(), *beside))


def _roots() -> tuple[Path, ...]:
    return _resolved(os.getcwd(), os.environ.get(VARIABLE, ""), os.path.expanduser(DATA))


@functools.lru_cache(maxsize=16)
def _resolved(here: str, named: str, data: str) -> tuple[Path, ...]:
    texts = [here, data, *(text for text in named.split(os.pathsep) if text)]
    return tuple(root for root in map(target, texts) if root is not None)


def refuse_way_out(path: Path) -> None:
    """Raise ``InputError`` for a file in the working folder that is not in it: one behind a link that leads elsewhere."""
    plain = os.path.abspath(path)
    if os.path.realpath(plain) == plain or not Path(plain).is_relative_to(os.path.abspath(os.getcwd())):
        return
    found = target(path)
    if not lies_open(found):
        raise InputError(
            f"a link leads from here to {found}, out of the working folder: put a copy here, or set {VARIABLE} to "
            "the folder that it leads to if you mean it",
            where=os.path.relpath(plain),
        )


def refuse_led_away(folder: Path) -> None:
    """Raise ``StoreError`` where the folder of all records is a link that leads elsewhere; for where nobody said so."""
    if not lies_open(target(folder)):
        raise StoreError(f"{folder} is a link that leads to {target(folder)}: add runs={target(folder)} if you mean it")


def refuse_links_out(files: Iterable[Path], root: Path) -> None:
    """Raise ``InputError`` for a file of a folder of data that is not in it, by a link or by its name, but where nobody said to read."""
    top, folders = target(root), dict[Path, Path | None]()
    for file in files:
        folder = file.parent
        if folder not in folders:
            folders[folder] = target(folder)
        found = target(file) if os.path.islink(file) else folders[folder]
        if top is None or not lies_open(found, [top]):
            raise InputError(
                f"{file} leads out of {root}, to {found}: put a copy there, or set {VARIABLE} to the folder that it leads to "
                "if you mean it",
                key="data.root",
            )
