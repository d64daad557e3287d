"""Hostile inputs: what a case is, the small world that it is tried in, and what has to hold afterwards.

A world is a folder with ``work`` (where the command is called), ``store``, ``home``, ``tmp``, and ``outside``, which is nobody's business.
In texts and arguments ``{mark}`` is a file that must never be, ``{outside}``, ``{work}`` and ``{store}`` are these folders.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = [
    "HEADER",
    "STUDY",
    "STUDY_EXPORT",
    "STUDY_RUN",
    "TOUCHES",
    "Case",
    "Told",
    "World",
    "Zygote",
    "recipe",
    "tried",
]

SECONDS, MIB = 10, 1024
"""What any input may take: seconds of a processor, and memory beyond what the process has."""

PATIENCE = 60
"""Seconds on the clock after which one that waits for something is killed."""

HARMLESS = ("('git', ['git', 'rev-parse'", "('git', ['git', 'status'", "('uname', ['uname'", "('fc-list', ['fc-list'")
"""Programs by which a run's record learns about the machine and the state of the sources, and a drawing about fonts."""

TOUCHES = "import pathlib\n\npathlib.Path({mark!r}).touch()\n"
"""A file of Python that leaves the mark when it is executed."""

STUDY = """# @package _global_
defaults: [{override /protocol: null}, {override /transfer: null}, {override /student: mlp_tiny}]
data: {limit: 64}
graph:
  fit_student: {stage: train, from: {model: student, data: data.train, optimizer: optimizer}, step: supervised, steps: 2}
  test: {stage: evaluate, from: [fit_student, data.test], metrics: [accuracy]}
arms: {a: {}}
seeds: 1
claims: {known: {test: a.test.accuracy > 0.99, says: all is known}}
"""
"""A small study, which trains a moment."""

STUDY_RUN, STUDY_EXPORT = ("run", "study.yaml"), ("export", "runs/study/once")

HEADER = "# @package _global_\ndefaults: [{override /transfer: distillation/none}]\n"


@dataclass(frozen=True)
class World:
    """Where one case is tried."""

    root: Path

    @property
    def work(self) -> Path:
        return self.root / "work"

    @property
    def outside(self) -> Path:
        return self.root / "outside"

    @property
    def store(self) -> Path:
        return self.root / "store"

    @property
    def mark(self) -> Path:
        return self.root / "outside" / "mark"

    def filled(self, text: str) -> str:
        """The text with the places of this world."""
        text = text.replace("{mark!r}", repr(str(self.mark)))
        for name in ("mark", "outside", "work", "store"):
            text = text.replace("{" + name + "}", str(getattr(self, name)))
        return text


@dataclass(frozen=True)
class Case:
    """One input: files of the working folder, the command line that meets them, and what it has to say."""

    name: str
    arguments: tuple[str, ...]
    says: str
    """A pattern that the error, or where the code is 0 the output, contains: it names the place."""
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    prepare: Callable[[World], None] | None = None
    """What else the world needs: links, special files, damage."""
    finished: bool = False
    """Whether ``STUDY`` was reproduced and run in this world before: its store and records are there."""
    code: int = 2
    lines: int = 1
    """Lines on standard error, at most."""
    slow: bool = False
    changes: tuple[str, ...] = ("store", "work/runs", "tmp", "home/.cache", "home/.config/matplotlib")
    """Folders of the world in which files may change."""
    may: tuple[str, ...] = ()
    """What of the noted deeds is right here: ``read``, ``network``, ``code`` …"""
    then: Callable[[World, Told], str | None] | None = None
    """What else has to hold: a complaint, or nothing."""
    environment: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


def recipe(name: str, body: str, says: str, *, command: str = "check", header: str = HEADER, **more: Any) -> Case:
    """A stranger's recipe, met by a command: ``check``, or with words after it."""
    verb, *words = command.split()
    files = {"stranger.yaml": header + body, **more.pop("files", {})}
    return Case(name, (verb, "stranger.yaml", *words), says, files=files, **more)


@dataclass(frozen=True)
class Told:
    """How a case ended."""

    code: int | None
    out: str
    err: str
    seconds: float
    mib: float
    deeds: list[list[str]]


class Zygote:
    """The process of ``support.zygote``, and what it answers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "WANDB_MODE": "offline",
            "PYTHONUTF8": "1",
        }
        environment["PYTHONPATH"] = os.pathsep.join(
            [str(Path(__file__).parents[1]), str(Path(__file__).parents[2]), environment.get("PYTHONPATH", "")]
        )
        environment["HOME"] = str(folder)
        self._study: World | None = None
        self.process = subprocess.Popen(
            [sys.executable, "-m", "support.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert self._line() == "ready\n"

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def call(self, world: World, arguments: Iterable[str], environment: Mapping[str, str] | None = None) -> Told:
        """The command line in the working folder of a world."""
        root = world.root
        out, err, note = (self.folder / name for name in ("out", "err", "note"))
        for path in (out, err, note):
            path.unlink(missing_ok=True)
        own = {
            "HOME": str(root / "home"),
            "XDG_CACHE_HOME": str(root / "home" / ".cache"),
            "TMPDIR": str(root / "tmp"),
            "KDRUN_STORE": str(world.store),
            "PWD": str(world.work),
            "SECRET": "treasure",
        }
        request = {
            "folder": str(world.work),
            "world": str(root),
            "arguments": [world.filled(word) for word in arguments],
            "environment": {**own, **(environment or {})},
            "seconds": 2 * SECONDS,
            "patience": PATIENCE,
            "out": str(out),
            "err": str(err),
            "note": str(note),
        }
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self._line())
        deeds = json.loads(note.read_text()) if note.exists() else []
        return Told(answer["code"], _text(out), _text(err), answer["seconds"], answer["mib"], deeds)

    def study(self, world: World) -> None:
        """Make this a world in which ``STUDY`` was reproduced, and run in ``work/runs/study/once``."""
        if self._study is None:
            made = _world(self.folder / "study")
            (made.work / "study.yaml").write_text(STUDY)
            for words in (("reproduce", "study.yaml", "--jobs=1"), ("run", "study.yaml")):
                told = self.call(made, words)
                assert told.code == 0, told.err
            (run,) = made.work.glob("runs/study/2*")
            run.rename(run.with_name("once"))
            self._study = made
        shutil.copytree(self._study.root, world.root, dirs_exist_ok=True)
        for path in world.work.rglob("*.json"):
            path.write_text(path.read_text().replace(str(self._study.root), str(world.root)))

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def _world(root: Path) -> World:
    for name in ("work", "outside", "store", "home", "tmp"):
        (root / name).mkdir(parents=True, exist_ok=True)
    return World(root)


def _text(path: Path) -> str:
    return path.read_bytes().decode(errors="replace") if path.exists() else ""


def tried(case: Case, world: World, zygote: Zygote) -> tuple[Told, list[str]]:
    """Make the world, call the command, and judge: how it ended, and all that is wrong with that."""
    _world(world.root)
    if case.finished:
        zygote.study(world)
    for name, content in case.files.items():
        path = world.work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else world.filled(content).encode())
    if case.prepare:
        case.prepare(world)
    before = _tree(world.root)
    told = zygote.call(world, case.arguments, case.environment)
    return told, [*complaints(case, told), *_changed(case, before, _tree(world.root)), *_more(case, world, told)]


def complaints(case: Case, told: Told) -> list[str]:
    """What is wrong with how it ended and what it said."""
    found = []
    said = told.out + told.err
    if told.code is None:
        found.append(f"did not end: killed after {told.seconds:.0f} s of a processor")
    elif told.code != case.code:
        found.append(f"exit code {told.code}, not {case.code}")
    if told.seconds > SECONDS:
        found.append(f"took {told.seconds:.1f} s")
    if told.mib > MIB:
        found.append(f"took {told.mib:.0f} MiB")
    if "Traceback (most recent" in said:
        found.append("a traceback")
    lines = [line for line in told.err.splitlines() if line.strip()]
    if len(lines) > case.lines:
        found.append(f"{len(lines)} lines of errors, not {case.lines}")
    if any(len(line) > 2000 for line in lines):
        found.append("a line of more than 2,000 characters")
    if case.code == 2 and not re.match(r"kdrun: \S", lines[-1] if lines else ""):
        found.append("no line 'kdrun: …'")
    if not re.search(case.says, said if case.code in (0, 1) else told.err, re.DOTALL):
        found.append(f"does not say {case.says!r}")
    steering = {c for c in said if c not in "\n\t" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    if steering:
        found.append(f"characters that steer: {sorted(map(ascii, steering))}")
    return found


def _tree(root: Path) -> dict[str, tuple[Any, ...]]:
    """Every file, folder and link below, with what tells whether it changed."""
    found: dict[str, tuple[Any, ...]] = {}
    for folder, folders, files in os.walk(root):
        for name in [*folders, *files]:
            path = os.path.join(folder, name)
            state = os.lstat(path)
            told: tuple[Any, ...] = (stat.S_IFMT(state.st_mode),)
            if stat.S_ISLNK(state.st_mode):
                told += (os.readlink(path),)
            elif stat.S_ISREG(state.st_mode):
                told += (state.st_size, state.st_mtime_ns)
                if state.st_size < 100_000:
                    with open(path, "rb") as opened:
                        told += (hashlib.sha256(opened.read()).hexdigest(),)
            found[os.path.relpath(path, root)] = told
    return found


def _changed(case: Case, before: dict[str, tuple[Any, ...]], after: dict[str, tuple[Any, ...]]) -> list[str]:
    touched = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    allowed = case.changes
    wrong = [
        name for name in touched if not name.startswith(allowed) and not any(a.startswith(f"{name}/") for a in allowed)
    ]
    return [f"changed {', '.join(wrong[:5])}"] if wrong else []


def _more(case: Case, world: World, told: Told) -> list[str]:
    found = [f"{deed}: {what}" for deed, what in told.deeds if deed not in case.may and not what.startswith(HARMLESS)][
        :5
    ]
    if world.mark.exists():
        found.append("left the mark")
    if "treasure" in told.out + told.err:
        found.append("told a secret")
    if case.then and (complaint := case.then(world, told)):
        found.append(complaint)
    return found
