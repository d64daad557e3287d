"""Hydra's own node, and the groups that are handed to Hydra: none of a stranger's words reaches them."""

from __future__ import annotations

from support.hostile import TOUCHES, Case, recipe

OPEN = "{_target_: builtins.open, file: '{mark}', mode: w}"

GLOBAL = "# @package _global_\n"

HYDRA = [
    ("a folder to run in", "hydra: {run: {dir: '{outside}'}}", "check"),
    ("a folder to run in, run", "hydra: {run: {dir: '{outside}'}}", "run"),
    ("a folder for outputs", "hydra: {output_subdir: '{outside}'}", "run"),
    ("a folder for sweeps", "hydra: {sweep: {dir: '{outside}', subdir: x}}", "run -m seed=0,1"),
    ("a working folder", "hydra: {job: {chdir: true}}", "run"),
    ("variables of the environment", "hydra: {job: {env_set: {KDRUN_STORE: '{outside}'}}}", "run"),
    ("variables handed on", "hydra: {job: {env_copy: [SECRET]}}", "run"),
    ("a callback", "hydra: {callbacks: {c: " + OPEN + "}}", "run"),
    ("a launcher", "hydra: {launcher: " + OPEN + "}", "run"),
    ("a launcher of a sweep", "hydra: {launcher: " + OPEN + "}", "run -m seed=0,1"),
    ("a sweeper", "hydra: {sweeper: " + OPEN + "}", "run -m seed=0,1"),
    ("where to search", "hydra: {searchpath: ['file://{outside}']}", "run"),
    (
        "a log",
        "hydra: {job_logging: {version: 1, root: {handlers: [f]}, handlers: {f: {class: logging.FileHandler, filename: '{mark}'}}}}",
        "run",
    ),
    ("the mode", "hydra: {mode: MULTIRUN}", "run"),
    ("a template of help", "hydra: {help: {template: '{mark}'}}", "run"),
    ("a dotted key", "hydra.run.dir: '{outside}'", "run"),
    ("nothing at all", "hydra: null", "run"),
    ("a word", "hydra: treasures", "run"),
    ("of an arm", "arms: {a: {hydra.run.dir: '{outside}'}}", "run arm=a"),
    ("of an arm, as a mapping", "arms: {a: {hydra: {job: {chdir: true}}}}", "check"),
    ("of an arm, sweeping", "arms: {a: {}, b: {hydra.job.chdir: true}}", "run -m arm=a,b"),
    ("of a scale", "scales: {smoke: {hydra.output_subdir: '{outside}'}}", "run scale=smoke"),
    (
        "of a scale for an arm",
        "arms: {a: {}}\nscales: {smoke: {arms: {a: {hydra.output_subdir: x}}}}",
        "run scale=smoke arm=a",
    ),
    ("a launcher chosen by an arm", "arms: {a: {hydra/launcher: joblib}}", "run arm=a"),
    ("a launcher chosen by a scale", "scales: {smoke: {hydra/launcher: joblib}}", "run scale=smoke"),
]

DEFAULTS = [
    ("a launcher of Hydra's", "override /hydra/launcher: joblib"),
    ("a log of Hydra's", "override /hydra/job_logging: default"),
    ("an environment of Hydra's", "override /hydra/env: default"),
    ("a launcher's option beside", "/hydra/launcher@launcher: basic"),
    ("a package of Hydra's", "/optimizer@hydra.run: sgd"),
    ("the primary configuration", "/config@hydra.help: null"),
]

OPTIONS = [
    (
        "a method",
        "conf/transfer/distillation/evil.yaml",
        GLOBAL + "hydra: {run: {dir: '{outside}'}}\n",
        ("transfer=evil",),
    ),
    (
        "a method for Hydra",
        "conf/transfer/distillation/evil.yaml",
        "# @package hydra\nrun: {dir: '{outside}'}\n",
        ("transfer=evil",),
    ),
    (
        "a method for its job",
        "conf/transfer/distillation/evil.yaml",
        "# @package hydra.job\nchdir: true\n",
        ("transfer=evil",),
    ),
    ("what is added", "conf/add/evil.yaml", GLOBAL + "hydra: {job: {chdir: true}}\n", ("+add=evil",)),
    ("data", "conf/data/evil.yaml", GLOBAL + "hydra: {job: {chdir: true}}\n", ("data=evil",)),
    (
        "a sweep over methods",
        "conf/transfer/distillation/evil.yaml",
        GLOBAL + "hydra: {job: {chdir: true}}\n",
        ("-m", "transfer=glob(evil*)"),
    ),
    ("a launcher for Hydra", "conf/hydra/launcher/evil.yaml", OPEN + "\n", ("hydra/launcher=evil", "-m", "seed=0,1")),
    ("a tracker", "conf/tracker/evil.yaml", "_target_: builtins.open\nfile: '{mark}'\nmode: w\n", ("tracker=evil",)),
]

CASES = [
    *(recipe(f"hydra, {name}", body + "\n", "hydra", command=command) for name, body, command in HYDRA),
    *(
        recipe(f"defaults, {name}", "", "stranger.yaml", command="run", header=f"{GLOBAL}defaults: [{{{entry}}}]\n")
        for name, entry in DEFAULTS
    ),
    *(
        Case(
            f"option, {name}",
            ("run", "kd", "scale=smoke", *words),
            "launcher|hydra|conf|tracker",
            files={path: content, "touches.py": TOUCHES},
        )
        for name, path, content, words in OPTIONS
    ),
    Case(
        "option, a launcher that names no launcher",
        ("run", "kd", "scale=smoke", "launcher=evil", "-m", "seed=0,1"),
        "records",
        files={"conf/launcher/evil.yaml": OPEN + "\n"},
        code=0,
        lines=12,
        slow=True,
    ),
    Case(
        "option, the primary configuration is kdrun's",
        ("check", "kd"),
        "all well",
        files={
            "conf/config.yaml": "defaults: [_self_]\nhydra: {run: {dir: '{outside}'}}\nplugins: [touches.py]\n",
            "touches.py": TOUCHES,
        },
        code=0,
        lines=0,
    ),
]
