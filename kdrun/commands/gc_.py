"""``kdrun gc``: delete what the store can do without; says what it would do, and does it with ``--yes``."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from kdrun.commands.arguments import Parser
from kdrun.commands.output import say
from kdrun.engine.garbage import Item, Plan, Wish, delete, plan
from kdrun.engine.records import read_json
from kdrun.engine.store import Store, default_root
from kdrun.errors import InputError

__all__ = ["main"]

SHOWN = 20
"""How many of the things to delete are named one by one."""


def main(arguments: Sequence[str]) -> int:
    parser = Parser(
        prog="kdrun gc",
        description="Delete leftovers and damage, and the results that the options name, from the store. "
        "Without --yes nothing is deleted. What is in use, or named by an unfinished run, always stays.",
    )
    parser.add_argument("--store", help="the store (default: KDRUN_STORE, else ~/.cache/kdrun)")
    parser.add_argument("--older-than", type=float, metavar="DAYS", help="results that were not read for so many days")
    parser.add_argument("--size", type=float, metavar="GIB", help="keep so many GiB: the least recently read go first")
    parser.add_argument("--recipe", help="results that only runs of this recipe name")
    parser.add_argument("--run", metavar="FOLDER", help="results that only this run names (kdrun runs lists folders)")
    parser.add_argument("--yes", action="store_true", help="delete them")
    options = parser.parse_args(list(arguments))
    if options.recipe and options.run:
        raise InputError("--recipe or --run, not both")
    for name, value in (("--older-than", options.older_than), ("--size", options.size)):
        if value is not None and not 0 <= value < float("inf"):
            raise InputError(f"{name} is a number from 0; got {value}")
    store = Store(options.store or default_root())
    if not store.root.is_dir():
        say(f"there is no store {store.root}")
        return 0
    kept_bytes = None if options.size is None else options.size * 2**30
    run = _keys_of(Path(options.run)) if options.run else None
    found = plan(store, Wish(options.older_than, kept_bytes, options.recipe, run))
    _tell(store, found)
    if found.items and options.yes:
        freed = delete(store, found.items)
        left = (
            f" of {_mebibytes(found.bytes)}: the rest is in use now, or may not be deleted"
            if freed < found.bytes
            else ""
        )
        say(f"freed {_mebibytes(freed)}{left}")
    elif found.items:
        say("nothing is deleted yet: the same command with --yes does it")
    return 0


def _keys_of(folder: Path) -> frozenset[str]:
    """The keys of a recorded run."""
    try:
        keys = read_json(folder / "keys.json")
        return frozenset(str(key) for key in keys.values())
    except (OSError, ValueError, AttributeError, RecursionError):
        raise InputError(f"{folder} is no folder of a finished run; `kdrun runs` lists them") from None


def _tell(store: Store, found: Plan) -> None:
    free = shutil.disk_usage(store.root).free
    say(f"store {store.root}, {free / 2**30:.1f} GiB free")
    if found.kept:
        size = _mebibytes(sum(entry.bytes for entry in found.kept))
        say(f"  stay: {len(found.kept)} results ({size}) that are in use, or that an unfinished run names")
    if not found.items:
        say("  nothing to delete")
        return
    say(f"  to delete: {len(found.items)}, {_mebibytes(found.bytes)}")
    for item in sorted(found.items, key=lambda i: -i.bytes)[:SHOWN]:
        say(f"    {_line(item)}")
    if len(found.items) > SHOWN:
        say(f"    … and {len(found.items) - SHOWN} more")


def _line(item: Item) -> str:
    return f"{_mebibytes(item.bytes):>12}  {item.name:<28} {item.why}"


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
