"""The store: damaged, foreign, misplaced, linked out of its folder, from another time."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.hostile import STUDY_EXPORT, STUDY_RUN, TOUCHES, Case, Told, World

DEEP = "[" * 100_000


def _entry(world: World, kind: str) -> Path:
    """The folder of the trained student, or of the table."""
    for manifest in sorted(world.store.glob("objects/*/*/manifest.json")):
        if (kind == "model") == bool(list(manifest.parent.glob("*.safetensors"))):
            return manifest.parent
    raise AssertionError(kind)


def _file(world: World, kind: str, name: str) -> Path:
    return next(iter(sorted(_entry(world, kind).glob(name))))


def _flip(kind: str, name: str, share: float, bit: int = 0) -> Callable[[World], None]:
    def make(world: World) -> None:
        path = _file(world, kind, name)
        content = bytearray(path.read_bytes())
        content[min(int(share * len(content)), len(content) - 1)] ^= 1 << bit
        path.write_bytes(content)

    return make


def _without(kind: str, name: str) -> Callable[[World], None]:
    return lambda world: _file(world, kind, name).unlink()


def _content(kind: str, name: str, content: bytes) -> Callable[[World], None]:
    def make(world: World) -> None:
        _file(world, kind, name).write_bytes(content)

    return make


def _a_folder(kind: str, name: str) -> Callable[[World], None]:
    def make(world: World) -> None:
        path = _file(world, kind, name)
        path.unlink()
        path.mkdir()

    return make


def _linked(kind: str, name: str) -> Callable[[World], None]:
    """The file stands outside, and a link in its place."""

    def make(world: World) -> None:
        path = _file(world, kind, name)
        path.rename(world.outside / path.name)
        path.symlink_to(world.outside / path.name)

    return make


def _entry_linked(world: World) -> None:
    entry = _entry(world, "table")
    entry.rename(world.outside / "entry")
    entry.symlink_to(world.outside / "entry")


def _entry_emptied(world: World) -> None:
    shutil.rmtree(_entry(world, "table"))
    _entry(world, "model").parent.joinpath("x").mkdir()


def _misplaced(world: World) -> None:
    """The model's files stand under the table's key."""
    table, model = _entry(world, "table"), _entry(world, "model")
    shutil.rmtree(table)
    shutil.copytree(model, table)


def _moved(world: World) -> None:
    model = _entry(world, "model")
    shutil.move(str(model), str(model.parent.parent / model.name))


def _foreign(world: World) -> None:
    (_entry(world, "model") / "evil.py").write_text(world.filled(TOUCHES))
    (world.store / "objects" / "evil.py").write_text(world.filled(TOUCHES))
    (world.store / "objects" / "xx").write_text("")


def _edited(**changes: Any) -> Callable[[World], None]:
    def make(world: World) -> None:
        path = _entry(world, "model") / "manifest.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return make


def _sealed(**changes: Any) -> Callable[[World], None]:
    """A manifest with a right checksum of itself that says something else."""

    def make(world: World) -> None:
        from kdrun.runtime.files import sealed

        path = _entry(world, "model") / "manifest.json"
        told = {**json.loads(path.read_text()), **changes}
        told.pop("seal")
        path.write_bytes(sealed(told))

    return make


def _instead(name: str, make_folder: bool, content: str = "") -> Callable[[World], None]:
    """A file where a folder of the store is expected, or a folder where a file is."""

    def make(world: World) -> None:
        path = world.store / name
        if path.is_dir():
            shutil.rmtree(path)
        elif path.exists():
            path.unlink()
        path.mkdir(parents=True) if make_folder else path.write_text(content)

    return make


def _link_of_store(name: str) -> Callable[[World], None]:
    """A folder of the store is a link to a folder with somebody's files."""

    def make(world: World) -> None:
        (world.outside / "mine").mkdir()
        (world.outside / "mine" / "letter.txt").write_text("dear friend")
        os.utime(world.outside / "mine" / "letter.txt", (1, 1))
        path = world.store / name
        if path.exists():
            path.rename(world.root / "store" / "was")
        path.symlink_to(world.outside / "mine")

    return make


def _lock(kind: str) -> Callable[[World], None]:
    def make(world: World) -> None:
        entry = _entry(world, "model")
        shutil.rmtree(entry)
        lock = world.store / "locks" / f"{entry.name}.lock"
        lock.unlink(missing_ok=True)
        if kind == "folder":
            lock.mkdir()
        elif kind == "link":
            (world.outside / "letter.txt").write_text("dear friend")
            lock.symlink_to(world.outside / "letter.txt")
        elif kind == "pipe":
            os.mkfifo(lock)
        else:
            lock.write_text("1 elsewhere")
            os.utime(lock, (1, 1))

    return make


STORE = [
    *(
        (f"a bit of the manifest, {share}", _flip("model", "manifest.json", share, bit))
        for share, bit in ((0.02, 0), (0.1, 1), (0.3, 2), (0.5, 7), (0.7, 4), (0.97, 0))
    ),
    *((f"a bit of the weights, {share}", _flip("model", "*.safetensors", share)) for share in (0.0, 0.05, 0.5, 1.0)),
    *((f"a bit of the table, {share}", _flip("table", "*.parquet", share)) for share in (0.0, 0.5, 1.0)),
    ("no manifest", _without("model", "manifest.json")),
    ("no weights", _without("model", "*.safetensors")),
    ("no table", _without("table", "*.parquet")),
    ("no entry", _entry_emptied),
    ("an empty manifest", _content("model", "manifest.json", b"")),
    ("a manifest of a list", _content("model", "manifest.json", b"[]")),
    ("a manifest of nothing", _content("model", "manifest.json", b"null")),
    ("a manifest that nests", _content("model", "manifest.json", DEEP.encode())),
    ("a manifest of many digits", _content("model", "manifest.json", b'{"format": ' + b"9" * 5000 + b"}")),
    ("a manifest of bytes", _content("model", "manifest.json", b"\xff\xfe\x00")),
    ("empty weights", _content("model", "*.safetensors", b"")),
    ("weights that are a pickle", _content("model", "*.safetensors", b"\x80\x04N.")),
    ("an empty table", _content("table", "*.parquet", b"")),
    ("a folder for the manifest", _a_folder("model", "manifest.json")),
    ("a folder for the weights", _a_folder("model", "*.safetensors")),
    ("a folder for the table", _a_folder("table", "*.parquet")),
    ("a result under another's key", _misplaced),
    ("a result in another's folder", _moved),
    ("files of others", _foreign),
    ("another key", _edited(key="0" * 40)),
    ("other files", _edited(files={"../../../../outside/x": {"sha256": "0" * 64, "bytes": 1}})),
    ("files that climb, sealed", _sealed(files={"../../../../outside/x": {"sha256": "0" * 64, "bytes": 1}})),
    ("fields that are none, sealed", _sealed(fields={"": 3})),
    ("files that are none, sealed", _sealed(files=[1])),
    ("a type that is none, sealed", _sealed(fields={"": {"type": "os.system", "meta": {}, "files": []}})),
]

REFUSED = [("a format ahead, sealed", _sealed(format=99), "format|newer|store")]

HEALED = [
    ("objects are a file", _instead("objects", False)),
    ("locks are a file", _instead("locks", False)),
    ("tmp is a file", _instead("tmp", False)),
    ("leases are a file", _instead("leases", False)),
    ("named is a file", _instead("named", False)),
    ("a lock is a folder", _lock("folder")),
    ("locks are a link", _link_of_store("locks")),
    ("tmp is a link", _link_of_store("tmp")),
    ("a lock of a dead one", _lock("dead")),
    ("a lock that is a link", _lock("link")),
    ("a lock that is a pipe", _lock("pipe")),
]

LINKS = [
    ("the manifest", _linked("model", "manifest.json")),
    ("the weights", _linked("model", "*.safetensors")),
    ("an entry", _entry_linked),
]

TIDIED = ["objects/zz"]

OWN_FOLDERS = ["tmp", "corrupt", "objects", "checkpoints", "locks", "leases", "named"]


def _same(world: World, told: Told) -> str | None:
    records = [json.loads(path.read_text())["metrics"] for path in world.work.glob("runs/study/*/result.json")]
    return None if all(record == records[0] for record in records) else "another result than before"


def _letter(world: World, told: Told) -> str | None:
    letters = list(world.outside.rglob("letter.txt"))
    return None if len(letters) == 1 and letters[0].read_text() == "dear friend" else "the letter is gone"


CASES = [
    *(
        Case(
            f"store, {name}, run again", STUDY_RUN, "records", prepare=make, finished=True, code=0, lines=8, then=_same
        )
        for name, make in STORE
    ),
    *(
        Case(
            f"store, {name}, looked at",
            ("doctor", "--verify"),
            "corrupt|cannot be read|no file|another|newer",
            prepare=make,
            finished=True,
            code=1,
        )
        for name, make in STORE[::3]
    ),
    *(
        Case(f"store, {name}, exported", STUDY_EXPORT, "manifest|safetensors", prepare=make, finished=True, code=1)
        for name, make in STORE[13:15]
    ),
    *(Case(f"store, {name}", STUDY_RUN, says, prepare=make, finished=True) for name, make, says in REFUSED),
    *(
        Case(f"store, {name}", STUDY_RUN, "records", prepare=make, finished=True, code=0, lines=8)
        for name, make in HEALED
    ),
    *(
        Case(
            f"store, a link for {name}",
            STUDY_RUN,
            "records",
            prepare=make,
            finished=True,
            code=0,
            lines=8,
            may=("read",),
        )
        for name, make in LINKS
    ),
    *(
        Case(
            f"store, {name} is a link, tidied",
            ("gc", "--older-than", "0", "--yes"),
            "",
            prepare=_link_of_store(name),
            finished=True,
            code=0,
            lines=3,
            then=_letter,
            may=("read",),
        )
        for name in TIDIED
    ),
    *(
        Case(
            f"store, {name} is a link, refused",
            ("gc", "--older-than", "0", "--yes"),
            "is a link",
            prepare=_link_of_store(name),
            finished=True,
            then=_letter,
            may=("read",),
        )
        for name in OWN_FOLDERS
    ),
]
