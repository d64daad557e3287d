"""Damage to the files of a store and to records, one file of a kind at a time, in every way that a disk or a hand does it."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from fault_trial import Trial

__all__ = ["damage", "damage_records"]

TARGETS = {
    "manifest": ("half", "store/objects/*/*/manifest.json"),
    "tensors": ("half", "store/objects/*/*/*.safetensors"),
    "table": ("half", "store/objects/*/*/*.parquet"),
    "result": ("half", "store/objects/*/*"),
    "shelf": ("half", "store/objects/*"),
    "checkpoint": ("cut", "store/checkpoints/*/*/*"),
    "checkpoint_folder": ("cut", "store/checkpoints/*/*"),
    "lock": ("cut", "store/locks/*.lock"),
    "lease": ("cut", "store/leases/*.json"),
    "note": ("half", "store/named/*.json"),
    "top": ("half", "store/*"),
}
"""By kind of file, the state to begin from, and where its files are."""


def damage(trial: Trial) -> str:
    """Damage one file or folder of a store: one of each kind in turn."""
    target = list(TARGETS)[trial.number % len(TARGETS)]
    base, pattern = TARGETS[target]
    trial.begin(base)
    paths = [p for p in sorted(trial.place.glob(pattern)) if "tmp" not in p.relative_to(trial.place).parts]
    path = trial.chance.choice(paths)
    way = trial.chance.choice([name for name, (fits, _) in WAYS.items() if fits(path)])
    others = (
        [p for p in paths if p != path and (p.is_dir() or p.read_bytes() != path.read_bytes())]
        if len(paths) > 1
        else []
    )
    WAYS[way][1](path, trial.chance, others)
    left = os.path.lexists(path)
    if target in ("manifest", "tensors", "table") or (target == "result" and left):
        trial.must_say = "set aside"
    elif target == "checkpoint" and path.parent == max(path.parent.parent.iterdir()):  # the one that is gone on from
        trial.must_say = "going on from"
    return f"{base}: {path.relative_to(trial.place)} {way}"


def damage_records(trial: Trial) -> str:
    """Damage a file of a run's folder, or the folder."""
    trial.begin("half", "cut")
    paths = sorted((trial.place / "runs").rglob("*"))
    path = trial.chance.choice(paths)
    way = trial.chance.choice([name for name, (fits, _) in WAYS.items() if fits(path)])
    others = [
        p
        for p in paths
        if p != path and p.is_dir() == path.is_dir() and path not in p.parents and p not in path.parents
    ]
    WAYS[way][1](path, trial.chance, others)
    return f"{path.relative_to(trial.place)} {way}"


def _truncated(path: Path, chance: random.Random, others: list[Path]) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: chance.randrange(len(content))] if content else b"x")


def _flipped(path: Path, chance: random.Random, others: list[Path]) -> None:
    content = bytearray(path.read_bytes() or b"\0")
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def _emptied(path: Path, chance: random.Random, others: list[Path]) -> None:
    path.write_bytes(b"" if path.stat().st_size else b"x")


def _deleted(path: Path, chance: random.Random, others: list[Path]) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _made_a_folder(path: Path, chance: random.Random, others: list[Path]) -> None:
    path.unlink()
    path.mkdir()
    (path / "something").write_text("else")


def _made_a_file(path: Path, chance: random.Random, others: list[Path]) -> None:
    shutil.rmtree(path)
    path.write_text("something else")


def _replaced(path: Path, chance: random.Random, others: list[Path]) -> None:
    """By another of its kind; where there is none, by what nobody wrote."""
    _deleted(path, chance, others)
    if not others:
        path.write_bytes(chance.randbytes(100))
        return
    other = chance.choice(others)
    if other.is_dir():
        shutil.copytree(other, path)
    else:
        shutil.copy(other, path)


def _half_deleted(path: Path, chance: random.Random, others: list[Path]) -> None:
    inside = sorted(path.iterdir())
    for one in inside[: max(1, len(inside) // 2)]:
        _deleted(one, chance, others)


def _a_dangling_link(path: Path, chance: random.Random, others: list[Path]) -> None:
    _deleted(path, chance, others)
    path.symlink_to(path.parent / "nowhere")


def _any(path: Path) -> bool:
    return True


Way = Callable[[Path, random.Random, list[Path]], None]
WAYS: dict[str, tuple[Callable[[Path], bool], Way]] = {
    "truncated": (Path.is_file, _truncated),
    "flipped": (Path.is_file, _flipped),
    "emptied": (Path.is_file, _emptied),
    "deleted": (_any, _deleted),
    "made a folder": (Path.is_file, _made_a_folder),
    "made a file": (Path.is_dir, _made_a_file),
    "replaced": (_any, _replaced),
    "half deleted": (lambda path: path.is_dir() and any(path.iterdir()), _half_deleted),
    "made a dangling link": (_any, _a_dangling_link),
}
"""By name, what each fits, and what it does."""
