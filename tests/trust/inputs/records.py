"""Folders of runs: broken records, configurations and pages that somebody else wrote, links."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from support.hostile import STUDY_EXPORT, TOUCHES, Case, Told, World

DEEP = "[" * 100_000


def _result(content: bytes | None, name: str = "result.json", place: str = "once") -> Callable[[World], None]:
    def make(world: World) -> None:
        path = world.work / "runs" / "study" / place / name
        path.unlink(missing_ok=True)
        if content is None:
            os.mkfifo(path)
        else:
            path.write_bytes(content)

    return make


def _field(**changes: Any) -> Callable[[World], None]:
    def make(world: World) -> None:
        path = world.work / "runs" / "study" / "once" / "result.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return make


def _circle(world: World) -> None:
    (world.work / "runs" / "again").symlink_to(world.work / "runs")


def _zeros(world: World) -> None:
    path = world.work / "runs" / "study" / "once" / "result.json"
    path.unlink()
    path.symlink_to("/dev/zero")


RECORDS: list[tuple[str, Callable[[World], None]]] = [
    ("empty", _result(b"")),
    ("cut off", _result(b'{"recipe": "study"')),
    ("a list", _result(b"[1]")),
    ("a number", _result(b"3")),
    ("nothing", _result(b"null")),
    ("no fields", _result(b"{}")),
    ("nested", _result(b'{"metrics": ' + DEEP.encode())),
    ("nested and closed", _result(b'{"recipe": ' + b"[" * 5000 + b"]" * 5000 + b"}")),
    ("of bytes", _result(b"\xff\x00")),
    ("of many digits", _result(b'{"seed": ' + b"9" * 5000 + b"}")),
    ("a pipe", _result(None)),
    ("zeros", _zeros),
    ("in a circle", _circle),
    ("metrics that are a list", _field(metrics=[1])),
    ("metrics that are words", _field(metrics={"test.accuracy": "high"})),
    ("metrics that are no numbers", _field(metrics={"test.accuracy": None, "x": [1], "y": {"z": 1}})),
    ("overrides that are a number", _field(overrides=3)),
    ("overrides that are numbers", _field(overrides=[3, None])),
    ("an objective that is a word", _field(objective="best")),
    ("a recipe that is a list", _field(recipe=["a"], state=3, seed="x", started=3)),
    ("counts that are words", _field(counts="many", seconds="many", plugins=3)),
]


def _own(name: str, text: str) -> Callable[[World], None]:
    def make(world: World) -> None:
        path = world.work / "runs" / "study" / "once" / name
        path.write_text(world.filled(text))
        (world.work / "touches.py").write_text(world.filled(TOUCHES))

    return make


def _config(text: str) -> Callable[[World], None]:
    def make(world: World) -> None:
        path = world.work / "runs" / "study" / "once" / "config.yaml"
        path.write_text(path.read_text() + "\n")
        content = path.read_text().replace("plugins: []\n", "").replace("store: null\n", "")
        path.write_text(content + world.filled(text))
        (world.work / "touches.py").write_text(world.filled(TOUCHES))

    return make


IGNORED = [
    ("plugins", _config("plugins: [touches.py]\n")),
    ("a tag", _config("x: !!python/object/apply:os.system ['touch {mark}']\n")),
    ("a model by its path", _config("student: {model: torch.nn.Linear}\n")),
    ("an interpolation", _config("student: {model: '${oc.env:SECRET}'}\n")),
    ("no configuration", _own("config.yaml", "")),
    ("a configuration that is a list", _own("config.yaml", "- 1\n")),
    ("a configuration that is no YAML", _own("config.yaml", "a: [\n")),
]
"""Configurations of a run's folder that are not read when its weights are exported."""

KEY = "0" * 40

MODELS: list[tuple[str, Any]] = [
    ("keys that climb", {"fit_student": {"key": "../../../outside", "main": "m", "models": ["m"], "input": {}}}),
    ("keys that are numbers", {"fit_student": {"key": 3, "main": 3, "models": 3, "input": {}}}),
    ("a stage that climbs", {"../../../outside/x": {"key": KEY, "main": "m", "models": ["m"], "input": {}}}),
    ("inputs that are none", {"fit_student": {"key": KEY, "main": "m", "models": ["m"], "input": 3}}),
    ("a role that climbs", {"fit_student": {"key": KEY, "main": "../x", "models": ["../x"], "input": {}}}),
    ("models that are none", {"fit_student": {"key": KEY, "main": "m", "models": [], "input": {}}}),
    ("a list", [1]),
    ("a number", 3),
]

EXPORTED = [
    *((name, _own("models.json", json.dumps(models))) for name, models in MODELS),
    ("no JSON", _own("models.json", "{")),
    ("nesting without end", _own("models.json", DEEP)),
    ("a result that is none", _own("result.json", "3")),
]


def _report(name: str, text: str) -> Callable[[World], None]:
    def make(world: World) -> None:
        (world.work / "runs" / "study" / "reproduce-small" / name).write_text(world.filled(text))
        (world.work / "touches.py").write_text(world.filled(TOUCHES))

    return make


def _page_linked(world: World) -> None:
    (world.outside / "letter.txt").write_text("dear friend")
    page = world.work / "runs" / "study" / "reproduce-small" / "report.html"
    page.unlink()
    page.symlink_to(world.outside / "letter.txt")


REPORT = ("report", "study.yaml")

REPORTED = [
    ("results that are none", _report("results.json", "3")),
    ("results that are no JSON", _report("results.json", "{")),
    ("results that nest", _report("results.json", DEEP)),
    ("results of other shapes", _report("results.json", '[{"arm": 3, "seed": [1], "metrics": 3}]')),
    ("curves that are none", _report("curves.json", "3")),
    ("an environment that is none", _report("environment.json", "[3]")),
    ("a configuration with a tag", _report("config.yaml", "x: !!python/object/apply:os.system ['touch {mark}']\n")),
]


def _letter(world: World, told: Told) -> str | None:
    letters = list(world.outside.rglob("letter.txt"))
    return None if len(letters) == 1 and letters[0].read_text() == "dear friend" else "the letter is gone"


CASES = [
    *(
        Case(f"record, {name}, {' '.join(words)}", words, "", prepare=make, finished=True, code=0, lines=3)
        for name, make in RECORDS
        for words in (("runs",), ("list", "runs"), ("gc",))[: 1 + 2 * (len(name) % 2)]
    ),
    *(
        Case(f"export, {name}", STUDY_EXPORT, "fit_student.safetensors", prepare=make, finished=True, code=0, lines=0)
        for name, make in IGNORED
    ),
    *(
        Case(f"export, {name}", STUDY_EXPORT, "once|fit_student", prepare=make, finished=True)
        for name, make in EXPORTED
    ),
    Case("export, a store elsewhere", STUDY_EXPORT, "KDRUN_STORE", prepare=_field(store="/proc/1"), finished=True),
    *(
        Case(f"report, {name}", REPORT, "report.html", prepare=make, finished=True, code=0, lines=2)
        for name, make in REPORTED
    ),
    Case(
        "report, a page that is a link",
        REPORT,
        "report",
        prepare=_page_linked,
        finished=True,
        code=0,
        then=_letter,
        may=("read",),
    ),
]
