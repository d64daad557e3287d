"""Words of the wrong shape: every key at the top, keys that are no text, files in other encodings, references, claims."""

from __future__ import annotations

from support.hostile import HEADER, Case, recipe

ALONE = "# @package _global_\ndefaults: [{override /protocol: null}, {override /transfer: null}]\n"

WRONG = [
    ("arms", "[kd, scratch]"),
    ("arms", "kd"),
    ("arms", "{kd: 3}"),
    ("arms", "{kd: [transfer]}"),
    ("arms", "{'': {}}"),
    ("arms", "{a: {like: 3}}"),
    ("arms", "{a: {skip: 3}}"),
    ("arms", "{a: {skip: [3]}}"),
    ("arms", "{a: {'': 1}}"),
    ("arms", "{a: {'..': 1}}"),
    ("arms", "{a: {fit_student: 3}}"),
    ("arms", "{a: {transfer: [none]}}"),
    ("arms", "{a: {transfer: 3}}"),
    ("scales", "[smoke]"),
    ("scales", "smoke"),
    ("scales", "{smoke: 3}"),
    ("scales", "{smoke: {arms: 3}}"),
    ("scales", "{smoke: {arms: {nobody: {}}}}"),
    ("claims", "[c]"),
    ("claims", "c"),
    ("claims", "{c: 3}"),
    ("claims", "{c: {test: 3}}"),
    ("claims", "{c: {test: ''}}"),
    ("claims", "{c: {says: nothing}}"),
    ("claims", "{c: {test: a.test.accuracy > 0, kind: best}}"),
    ("claims", "{c: {test: a.test.accuracy > 0, says: 3}}"),
    ("claims", "{c: {test: a.test.accuracy > 0, reported: 3}}"),
    ("claims", "{c: {test: a.test.accuracy > 0, confidence: 3}}"),
    ("claims", "{c: {test: a.test.accuracy > 0, confidence: x}}"),
    ("claims", "{c: {test: a.test.accuracy > nobody.test.accuracy}}"),
    ("claims", "{c: {test: a.test.acuracy > 0}}"),
    ("claims", "{c: {test: a.test.accuracy}}"),
    ("claims", "{c: {test: a.test.accuracy > 0 > 1}}"),
    ("claims", "{c: {test: rank of a.test.accuracy among a <= x}}"),
    ("claims", "{c: {test: 'at least x % of arms: test.accuracy > 0'}}"),
    ("claims", "{c: {test: 'a.test.accuracy / 0 > 1'}}"),
    ("paper", "[title]"),
    ("paper", "title"),
    ("paper", "{title: 3}"),
    ("paper", "{year: soon}"),
    ("paper", "{arxiv: 1503.02531}"),
    ("paper", "{family: [a]}"),
    ("notes", "{a: b}"),
    ("notes", "3"),
    ("notes", "[[a]]"),
    ("seed", "[1, 2]"),
    ("seed", "one"),
    ("seed", "-1"),
    ("seed", "1.5"),
    ("seed", "true"),
    ("seeds", "[a]"),
    ("seeds", "0"),
    ("seeds", "-3"),
    ("seeds", "{a: 1}"),
    ("seeds", "[]"),
    ("seeds", "[1, 1]"),
    ("graph", "[a]"),
    ("graph", "3"),
    ("graph", "{a: 3}"),
    ("graph", "{a: [op]}"),
    ("graph", "{a: {}}"),
    ("graph", "{fit_student: x}"),
    ("graph", "{a: {op: 3}}"),
    ("graph", "{a: {op: add, stage: train}}"),
    ("graph", "{a: {stage: [train]}}"),
    ("graph", "{a: {op: add, from: 3}}"),
    ("graph", "{a: {op: add, from: [3]}}"),
    ("graph", "{a: {op: add, from: ['']}}"),
    ("graph", "{a: {op: add, from: ['.x']}}"),
    ("graph", "{a: {op: add, from: [[data.train]]}}"),
    ("graph", "{a: {op: add, from: {x: {y: data.train}}}}"),
    ("graph", "{a: {op: add, from: [nobody, nothing]}}"),
    ("graph", "{a: {op: add, from: [a, a]}}"),
    ("graph", "{a: {foreach: 3, do: {x: {op: constant, shape: [1]}}}}"),
    ("graph", "{a: {foreach: {i: 2}}}"),
    ("graph", "{a: {foreach: {i: 2}, do: 3}}"),
    ("graph", "{a: {foreach: {i: -2}, do: {x: {op: constant, shape: [1]}}}}"),
    ("graph", "{a: {foreach: {i: 2, carry: 3}, do: {x: {op: constant, shape: [1]}}}}"),
    ("graph", "{a: {like: nobody}}"),
    ("graph", "{a: {like: [3]}}"),
    ("graph", "{fit_student: {step: 3}}"),
    ("graph", "{fit_student: {step: {nodes: [a]}}}"),
    ("graph", "{fit_student: {step: {minimize: 3}}}"),
    ("graph", "{fit_student: {step: {minimize: {ce: much}}}}"),
    ("graph", "{fit_student: {step: {minimize: {nobody: 1}}}}"),
    ("graph", "{fit_student: {step: {train: 3}}}"),
    ("graph", "{fit_student: {step: {updates: [a]}}}"),
    ("graph", "{fit_student: {step: {state: 3}}}"),
    ("graph", "{fit_student: {step: {alternate: 3}}}"),
    ("graph", "{fit_student: {epochs: -1}}"),
    ("graph", "{fit_student: {batch_size: 0}}"),
    ("graph", "{fit_student: {models: 3}}"),
    ("graph", "{test: {metrics: 3}}"),
    ("graph", "{test: {metrics: [3]}}"),
    ("graph", "{test: {metrics: [{}]}}"),
    ("steps", "[a]"),
    ("steps", "{a: 3}"),
    ("data", "[digits]"),
    ("data", "{data: [digits]}"),
    ("data", "{limit: few}"),
    ("data", "{augment: {transform: 3}}"),
    ("data", "{augment: [3]}"),
    ("teacher", "[cnn_wide]"),
    ("teacher", "{model: 3}"),
    ("student", "{channels: wide}"),
    ("student", "{weights: [a]}"),
    ("student", "{weights: {path: 3}}"),
    ("student", "{weights: {file: x}}"),
    ("student", "{channels: [-1]}"),
    ("optimizer", "[sgd]"),
    ("optimizer", "{lr: fast}"),
    ("optimizer", "{lr: -1}"),
    ("optimizer", "{lr: .nan}"),
    ("optimizer", "{schedule: 3}"),
    ("hardware", "[cpu]"),
    ("hardware", "{bogus: 1}"),
    ("hardware", "{precision: fp1}"),
    ("hardware", "{threads: 0}"),
    ("hardware", "{processes: many}"),
    ("hardware", "{compile: 3}"),
    ("tracker", "[local]"),
    ("tracker", "{tracker: [1]}"),
    ("tracker", "{project: [1]}"),
    ("objective", "[a]"),
    ("objective", "3"),
    ("objective", "{metric: 3}"),
    ("objective", "{metric: valid.accuracy, goal: win}"),
    ("objective", "valid.acuracy"),
    ("epochs", "many"),
    ("epochs", "[1]"),
    ("batch_size", "1.5"),
    ("batch_size", "-1"),
    ("checkpoint_seconds", "soon"),
    ("checkpoint_seconds", "-1"),
    ("results", "3"),
    ("results", "[nobody]"),
    ("results", "[[a]]"),
    ("skip", "3"),
    ("skip", "[nobody]"),
    ("launcher", "[basic]"),
    ("launcher", "{launcher: 3}"),
    ("transfer", "[distillation/kd]"),
]

MET = {
    "data": "plan",
    "student": "plan",
    "optimizer": "plan",
    "hardware": "run",
    "tracker": "run",
    "scales": "check scale=smoke",
}
"""By which command a key's shape is met, where that is not ``check``."""

DEFAULTS = [
    ("a word", "defaults: digits"),
    ("a mapping", "defaults: {data: digits}"),
    ("a number in a list", "defaults: [3]"),
    ("a list in a list", "defaults: [[digits]]"),
    ("two in one", "defaults: [{override /data: digits, override /student: mlp_tiny}]"),
    ("a group that is none", "defaults: [{override /dtaa: digits}]"),
    ("an option that is none", "defaults: [{override /data: digit}]"),
    ("an option that is a number", "defaults: [{override /data: 3}]"),
    ("an option that is a mapping", "defaults: [{override /data: {a: b}}]"),
    ("without a group", "defaults: [{'': digits}]"),
    ("without override", "defaults: [{/data: glyphs}]"),
]

KEYS = [
    ("a number", "3: x"),
    ("nothing", "null: x"),
    ("true", "true: x"),
    ("a date", "2020-01-01: x"),
    ("a fraction", "1.5: x"),
    ("not a number", ".nan: x"),
    ("empty", "'': x"),
    ("a list", "? [a, b]\n: x"),
    ("a mapping", "? {a: b}\n: x"),
    ("a number of a graph", "graph: {3: {op: constant, shape: [1]}}"),
    ("a number of an arm", "arms: {a: {3: x}}"),
    ("a number among arms", "arms: {3: {}}"),
    ("a number among claims", "arms: {a: {}}\nclaims: {3: {test: a.test.accuracy > 0, says: x}}"),
    ("true of the data", "data: {true: x}"),
]

FILES: list[tuple[str, bytes]] = [
    ("a list", b"- a\n- b\n"),
    ("a word", b"word\n"),
    ("a number", b"3\n"),
    ("not closed", b"a: [1, 2\n"),
    ("a tabulator", b"a:\n\tb: 1\n"),
    ("a colon too many", b"a: b: c\n"),
    ("UTF-16", "# @package _global_\nepochs: 1\n".encode("utf-16")),
    ("UTF-32", "# @package _global_\nepochs: 1\n".encode("utf-32")),
    ("Latin", "# @package _global_\nnotes: [é]\n".encode("latin-1")),
    ("a zero", b"# @package _global_\nepochs: 1\x00\n"),
    ("a byte that is none", b"# @package _global_\nnotes: [\xff\xfe]\n"),
    ("a half of a pair", b"# @package _global_\nnotes: ['\xed\xa0\x80']\n"),
    ("an escaped half of a pair", b'# @package _global_\nnotes: ["\\ud800"]\n'),
    ("a picture", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"),
    ("an archive", b"PK\x03\x04\x14\x00\x00\x00"),
    ("an end in the middle", b"epochs: 1\n...\nepochs: 2\n"),
    ("a directive", b"%YAML 9.9\n---\nepochs: 1\n"),
]

RIGHT: list[tuple[str, bytes]] = [
    ("empty", b""),
    ("blank", b" \n\n"),
    ("only remarks", b"# @package _global_\n# nothing\n"),
    ("nothing", b"null\n"),
    ("a date that is none", b"# @package _global_\nnotes: [2020-99-99]\n"),
    ("a mark of the order of bytes", b"\xef\xbb\xbf" + HEADER.encode()),
]
"""What looks wrong and is not: a file that says nothing leaves all as it is."""

LISTS = [
    ("list", "papers"),
    ("list", "methods"),
    ("list", "groups"),
    ("explain", "transfer", "distillation/kd"),
    ("check", "kd"),
]


def _numbered() -> list[tuple[str, str, str]]:
    counted: dict[str, int] = {}
    found = []
    for key, value in WRONG:
        counted[key] = counted.get(key, 0) + 1
        found.append((f"{key}, wrong {counted[key]}", key, value))
    return found


CASES = [
    *(
        recipe(
            name,
            ("arms: {a: {}}\n" if key == "claims" else "") + f"{key}: {value}\n",
            key + r"|arms|\ba\b",
            command=MET.get(key, "check"),
        )
        for name, key, value in _numbered()
    ),
    *(
        recipe(f"defaults, {name}", "", "stranger|defaults|data|dtaa", header=f"# @package _global_\n{body}\n")
        for name, body in DEFAULTS
    ),
    *(recipe(f"a key, {name}", body + "\n", "stranger|graph|arms|claims|data") for name, body in KEYS),
    *(
        Case(f"a file, {name}", ("check", "stranger.yaml"), "stranger.yaml", files={"stranger.yaml": content})
        for name, content in FILES
    ),
    *(
        Case(
            f"a file, {name}", ("check", "stranger.yaml"), "all well", files={"stranger.yaml": content}, code=0, lines=0
        )
        for name, content in RIGHT
    ),
    *(
        Case(f"a bad file beside others, {' '.join(words)}, {number}", words, "kd", files=files, code=0, lines=2)
        for number, files in enumerate(
            [
                {
                    "recipes/bad.yaml": "é".encode("latin-1"),
                    "conf/transfer/distillation/bad.yaml": "é".encode("latin-1"),
                },
                {
                    "recipes/bad.yaml": b"a: [",
                    "conf/transfer/distillation/bad.yaml": b"a: [",
                    "conf/data/bad.yaml": b"\x00",
                },
                {"recipes/bad.yaml": b"- 1", "conf/transfer/distillation/bad.yaml": b"3", "conf/data/bad.yaml": b""},
                {
                    "recipes/bad.yaml": b"paper: 3\narms: 3\n",
                    "conf/transfer/distillation/bad.yaml": b"defaults: 3\ngraph: 3\n",
                },
            ]
        )
        for words in LISTS
    ),
]
