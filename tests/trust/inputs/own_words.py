"""``plugins``, ``store`` and ``runs``: the user's words alone, wherever a stranger writes them."""

from __future__ import annotations

from support.hostile import HEADER, TOUCHES, Case, recipe

GLOBAL = "# @package _global_\n"
CODE = {"touches.py": TOUCHES, "touches/__init__.py": TOUCHES}

BODIES = [
    ("plugins", "plugins: [touches.py]", "check", "plugins"),
    ("plugins, run", "plugins: [touches.py]", "run", "plugins"),
    ("plugins, planned", "plugins: [touches.py]", "plan", "plugins"),
    ("plugins, shown", "plugins: [touches.py]", "show", "plugins"),
    ("plugins, reproduced", "plugins: [touches.py]\narms: {a: {}}\nseeds: 1", "reproduce", "plugins"),
    ("plugins, exported", "plugins: [touches.py]", "export", "plugins"),
    ("plugins as a word", "plugins: touches.py", "check", "plugins"),
    ("a package", "plugins: [touches]", "check", "plugins"),
    ("no plugins", "plugins: null", "check", "plugins"),
    ("plugins of an arm", "arms: {a: {plugins: [touches.py]}}", "check", "plugins"),
    ("plugins of an arm, run", "arms: {a: {plugins: [touches.py]}}", "run arm=a", "plugins"),
    ("plugins of an arm, sweeping", "arms: {a: {}, b: {plugins: [touches.py]}}", "run -m arm=a,b", "plugins"),
    ("plugins of an arm, dotted", "arms: {a: {plugins.0: touches.py}}", "run arm=a", "plugins"),
    ("plugins of a like arm", "arms: {a: {plugins: [touches.py]}, b: {like: a}}", "run arm=b", "plugins"),
    ("plugins of a scale", "scales: {smoke: {plugins: [touches.py]}}", "run scale=smoke", "plugins"),
    ("plugins of a scale, checked", "scales: {smoke: {plugins: [touches.py]}}", "check scale=smoke", "plugins"),
    (
        "plugins of a scale's arm",
        "arms: {a: {}}\nscales: {smoke: {arms: {a: {plugins: [touches.py]}}}}",
        "reproduce scale=smoke",
        "plugins",
    ),
    ("plugins computed", "words: [touches.py]\nplugins: ${words}", "check", "plugins"),
    ("plugins by the seed", "by: {'0': [], '1': [touches.py]}\nplugins: ${by.${seed}}", "run seed=1", "plugins"),
    (
        "plugins by the seed, reproduced",
        "seeds: 2\narms: {a: {}}\nby: {'0': [], '1': [touches.py]}\nplugins: ${by.${seed}}",
        "reproduce",
        "plugins",
    ),
    ("plugins of a node", "graph: {fit_student: {plugins: [touches.py]}}", "check", "plugins"),
    ("plugins of the hardware", "hardware: {plugins: [touches.py]}", "check", "plugins"),
    ("plugins with a dot", "plugins.extra: [touches.py]", "check", "plugins"),
    ("a store", "store: '{outside}'", "run", "store"),
    ("a store, read", "store: '{outside}'", "export", "store"),
    ("a store of an arm", "arms: {a: {store: '{outside}'}}", "run arm=a", "store"),
    ("a store of a scale", "scales: {smoke: {store: '{outside}'}}", "run scale=smoke", "store"),
    ("a store computed", "place: '{outside}'\nstore: ${place}", "run", "store"),
    ("records", "runs: '{outside}'", "run", "runs"),
    ("records of an arm", "arms: {a: {runs: '{outside}'}}", "run arm=a", "runs"),
    ("records of a scale", "scales: {smoke: {runs: ../outside}}", "reproduce scale=smoke", "runs"),
    ("records of a report", "runs: '{outside}'\narms: {a: {}}", "report", "runs"),
]

OPTIONS = [
    (
        "of a method",
        "conf/transfer/distillation/evil.yaml",
        GLOBAL + "plugins: [touches.py]\n",
        ("run", "kd", "transfer=evil"),
    ),
    (
        "of methods in a sweep",
        "conf/transfer/distillation/evil.yaml",
        GLOBAL + "plugins: [touches.py]\n",
        ("run", "kd", "-m", "transfer=glob(evil*)"),
    ),
    (
        "of a method, as its package",
        "conf/transfer/distillation/evil.yaml",
        "# @package plugins\nx: touches.py\n",
        ("check", "kd", "transfer=evil"),
    ),
    ("of what is added", "conf/add/evil.yaml", GLOBAL + "plugins: [touches.py]\n", ("run", "kd", "+add=evil")),
    ("of data", "conf/data/evil.yaml", GLOBAL + "plugins: [touches.py]\n", ("check", "kd", "data=evil")),
    ("of a model", "conf/model/evil.yaml", GLOBAL + "store: '{outside}'\n", ("run", "kd", "student=evil")),
    ("of hardware", "conf/hardware/evil.yaml", GLOBAL + "runs: '{outside}'\n", ("run", "kd", "hardware=evil")),
    ("of a tracker", "conf/tracker/evil.yaml", GLOBAL + "runs: '{outside}'\n", ("run", "kd", "tracker=evil")),
    ("of a protocol", "conf/protocol/distillation.yaml", GLOBAL + "plugins: [touches.py]\n", ("check", "kd")),
    ("of the steps", "conf/steps/evil.yaml", GLOBAL + "plugins: [touches.py]\n", ("check", "kd", "steps=[evil]")),
]

CASES = [
    *(
        recipe(f"own words, {name}", body + "\n", says, command=command, files=CODE)
        for name, body, command, says in BODIES
    ),
    *(
        Case(f"own words, {name}", arguments, "plugins|store|runs|steps", files={path: content, **CODE})
        for name, path, content, arguments in OPTIONS
    ),
    Case(
        "own words, of a leaderboard's method",
        ("reproduce", "board.yaml"),
        "plugins",
        files={
            "board.yaml": HEADER + "arms: {a: {}, b: {transfer: evil}}\nscales: {smoke: {epochs: 1}}\n",
            "conf/transfer/distillation/evil.yaml": GLOBAL + "defaults: [distillation/none]\nplugins: [touches.py]\n",
            **CODE,
        },
    ),
]
