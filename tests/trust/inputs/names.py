"""Names and texts that would speak to a terminal, a page or a drawing instead of being read."""

from __future__ import annotations

import json
from collections.abc import Callable

from support.hostile import HEADER, Case, Told, World, recipe
from trust.inputs.carried import READ
from trust.inputs.contents import GOOD

ALONE = "# @package _global_\ndefaults: [{override /protocol: null}, {override /transfer: null}]\n"

RED, TITLE, UP = "\x1b[31m", "\x1b]0;name\x07", "\x1b[1A\x1b[2K"
TURNED, BROKEN, HIDDEN, JOINED = "\u202e", "\u2028", "\u200b", "\u2066"

STEERING = [
    ("a colour", r"\e[31m"),
    ("a title", r"\e]0;name\a"),
    ("a line above", r"\e[1A\e[2K"),
    ("a return", r"\rname"),
    ("a bell", r"\a"),
    ("a backspace", r"\b\b"),
    ("a turn", r"\u202eeman"),
    ("an isolate", r"\u2066name"),
    ("nothing wide", r"na\u200bme"),
    ("a joiner", r"na\u2060me"),
    ("a mark of order", r"\ufeffname"),
    ("a line of Unicode", r"na\u2028me"),
    ("a newline", r"na\nme"),
    ("a control of eight bits", r"\u009b31m"),
    ("a tag", r"\U000e0041name"),
]

PLACES = [
    ("node", 'graph: {{"{}": {{op: constant, shape: [1]}}}}'),
    ("arm", 'arms: {{"{}": {{}}}}'),
    ("scale", 'scales: {{"{}": {{epochs: 1}}}}'),
    ("claim", 'arms: {{a: {{}}}}\nclaims: {{"{}": {{test: a.test.accuracy > 0, says: x}}}}'),
    ("part", 'graph: {{x: {{op: "{}"}}}}'),
    ("reference", 'graph: {{x: {{stage: evaluate, from: [student, "{}"], metrics: [accuracy]}}}}'),
    ("key", '"{}": 1'),
    ("value", 'epochs: "{}"'),
    ("title", 'paper: {{title: "{}"}}'),
    ("note", 'notes: ["{}"]'),
    ("sentence", 'arms: {{a: {{}}}}\nclaims: {{c: {{test: "a.test.accuracy > {}", says: x}}}}'),
]

ODD = [
    ("climbs", "../x"),
    ("is a path", "a/b"),
    ("is a root", "/x"),
    ("is points", ".."),
    ("is a point", "a.b"),
    ("is markup", "<script>alert(1)</script>"),
    ("is a dollar", "$\\frac{$"),
    ("ends a label", 'x"] --> y["z'),
    ("is a line of Mermaid", 'click x href \\"javascript:1\\"'),
    ("is a sign", "a=b"),
    ("is blank", " "),
    ("is of brackets", "a[0]"),
    ("is a flag", "--yes"),
    ("is a variable", "${HOME}"),
    ("is a pattern", "*"),
]

MARKUP = "<img src=x onerror=alert(1)>&lt;\\\"'<!--"
MATHS = "$\\\\frac{$ _{x} \\\\undefined"


def _page(world: World, told: Told) -> str | None:
    pages = list(world.work.glob("runs/**/report.html"))
    if not pages:
        return "no report"
    text = "".join(page.read_text() for page in pages)
    bad = [part for part in ("<img src=x", "<script", "onerror=alert(1)>", "javascript:") if part in text]
    return f"the page has {bad}" if bad else None


STUDY = """# @package _global_
defaults: [{{override /protocol: null}}, {{override /transfer: null}}, {{override /student: mlp_tiny}}]
data: {{limit: 64}}
paper: {{title: "{0}", arxiv: "{0}", family: "{0}"}}
notes: ["{0}"]
graph:
  fit_student: {{stage: train, from: {{model: student, data: data.train, optimizer: optimizer}}, step: supervised, steps: 2}}
  test: {{stage: evaluate, from: [fit_student, data.test], metrics: [accuracy]}}
arms: {{a: {{}}}}
seeds: 1
claims: {{known: {{test: a.test.accuracy > 0.99, says: "{0}", reported: {{setting: "{0}"}}}}}}
"""

DRAWN = 'graph: {{x: {{op: constant, shape: [1], value: "{}"}}}}'


def _pictures(name: str, kind: str) -> Callable[[World], None]:
    def make(world: World) -> None:
        for label in "ab":
            folder = world.work / "images" / (label + name if kind == "class" else label)
            folder.mkdir(parents=True)
            (folder / ("x.png" if kind == "class" else f"{name}x.png")).write_bytes(GOOD[:40])

    return make


def _record(**fields: object) -> Callable[[World], None]:
    def make(world: World) -> None:
        path = world.work / "runs" / "study" / "once" / "result.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))

    return make


def _folder(name: str) -> Callable[[World], None]:
    def make(world: World) -> None:
        (world.work / "runs" / "study" / "once").rename(world.work / "runs" / "study" / name)

    return make


LOUD = f"{RED}{TITLE}{UP}{TURNED}{BROKEN}{HIDDEN}{JOINED}\r\x07\x9b"

RECORDS = [
    ("recipe", _record(recipe=LOUD)),
    ("overrides", _record(overrides=[LOUD])),
    ("state", _record(state=LOUD)),
    ("metrics", _record(metrics={LOUD: 1.0})),
    ("objective", _record(objective={"metric": LOUD, "goal": "maximize"})),
    ("machine", _record(machine=LOUD, method=LOUD, started=LOUD, scale=LOUD, seed=LOUD, error=LOUD)),
    ("folder", _folder(LOUD)),
]

WORDS = [
    ("a newline in an override", ("check", "kd", "epochs=2\nplugins=[x]"), "epochs"),
    ("a newline in a recipe", ("check", "kd\nkd"), "kd"),
    ("a colour in a recipe", ("check", RED + "kd"), "kd"),
    ("a colour in an override", ("check", "kd", RED + "epochs=2"), "epochs"),
    ("a colour in a value", ("check", "kd", "epochs=" + RED), "epochs"),
    ("a colour in a flag", ("check", "kd", "--" + RED), "--"),
    ("a colour in a flag of run", ("run", "kd", "--" + RED), "--"),
    ("a colour in a command", (RED, "kd"), "command"),
    ("a colour in a topic", ("list", RED), "31m"),
    ("a colour in a part", ("explain", "op", RED), "31m"),
    ("a turn in an arm", ("run", "kd", "arm=" + TURNED), "arm"),
    ("a title in a sweep", ("run", "kd", "-m", "arm=kd," + TITLE), "arm"),
    ("a title in a folder", ("export", TITLE), "name|export|treasure|0;"),
    ("a colour in a project", ("new", RED), "31m"),
]

CASES = [
    *(
        recipe(
            f"steers, {place} with {name}",
            form.format(text) + "\n",
            "stranger|graph|arms|scales|claims",
            header=ALONE if place == "node" else "# @package _global_\n",
        )
        for number, (name, text) in enumerate(STEERING)
        for index, (place, form) in enumerate(PLACES)
        if (number + index) % 4 == 0 and (name, place) != ("a newline", "title")
    ),
    *(
        recipe(
            f"odd, {place} {name}",
            form.format(text.replace("\\", "\\\\").replace('"', '\\"') if name != "is a line of Mermaid" else text)
            + "\n",
            f"stranger|{place}|graph|arms|scales|claims",
            command="reproduce" if place == "arm" else "check",
            header=ALONE if place == "node" else HEADER,
        )
        for name, text in ODD
        for place, form in PLACES[:4]
    ),
    *(
        Case(
            f"a page with {name}",
            ("reproduce", "study.yaml", "--jobs=1"),
            "report",
            files={"study.yaml": STUDY.format(text)},
            code=0,
            lines=6,
            then=_page,
            slow=True,
        )
        for name, text in (("markup", MARKUP), ("mathematics", MATHS))
    ),
    *(
        Case(
            f"a drawing with markup, {form}",
            ("show", "study.yaml", "--format", form),
            "fit_student",
            files={"study.yaml": STUDY.format(MARKUP)},
            code=0,
            lines=0,
        )
        for form in ("text", "yaml", "mermaid", "svg")
    ),
    *(
        Case(
            f"pictures, a {kind} with {name}",
            ("run", "read.yaml"),
            "images",
            files={"read.yaml": f"{READ}data: {{data: folder, root: images, size: 8}}\n"},
            prepare=_pictures(text, kind),
        )
        for kind, name, text in (
            ("class", "a colour", RED),
            ("file", "a colour", RED),
            ("class", "a turn", TURNED),
            ("file", "a newline", "\n"),
        )
    ),
    *(
        Case(
            f"records, a {name} that steers, {' '.join(words)}",
            words,
            "study|none|31m",
            prepare=make,
            finished=True,
            code=0,
            lines=2,
        )
        for name, make in RECORDS
        for words in (("runs",), ("list", "runs"))
    ),
    Case("words, a colour in a store", ("doctor", "--store", RED), "31m", code=0, lines=0, changes=(f"work/{RED}",)),
    Case("words, a colour in records", ("runs", "--runs", RED), "31m", code=0, lines=0),
    *(Case(f"words, {name}", words, says) for name, words, says in WORDS),
]
