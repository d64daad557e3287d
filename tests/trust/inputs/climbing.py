"""Parts by dotted path, options that climb out of their folders, values that ask the machine, YAML that builds objects."""

from __future__ import annotations

from support.hostile import TOUCHES, Case, World, recipe

GLOBAL = "# @package _global_\n"

ALONE = "# @package _global_\ndefaults: [{override /protocol: null}, {override /transfer: null}]\n"

NODES = [
    ("an op by its path", "x: {op: os.system, from: [data.train]}", "x"),
    ("an op by a path in kdrun", "x: {op: 'kdrun.ops.divergences.kl_divergence', from: [data.train]}", "x"),
    ("an op that is built in", "x: {op: __import__, from: [data.train]}", "x"),
    ("an op by two underscores", "x: {op: __class__, from: [data.train]}", "x"),
    ("a target", "x: {_target_: builtins.open, file: '{mark}', mode: w}", "x"),
    (
        "a target in parameters",
        "x: {stage: evaluate, from: [student, data.test], metrics: [{_target_: builtins.open, file: '{mark}', mode: w}]}",
        "metrics",
    ),
    ("a stage by its path", "x: {stage: kdrun.cli.main, from: [data.train]}", "x"),
    ("a part of a stage", "x: {stage: select, by: pathlib.Path.touch, from: [data.train]}", "x"),
    (
        "a metric by its path",
        "x: {stage: evaluate, from: [student, data.test], metrics: [builtins.eval]}",
        "builtins.eval",
    ),
    ("an attribute of a model", "x: {stage: evaluate, from: [student.__class__, data.test], metrics: [accuracy]}", "x"),
    ("an attribute of data", "x: {stage: evaluate, from: [student, data.__init__], metrics: [accuracy]}", "__init__"),
    (
        "an attribute of a split",
        "x: {stage: evaluate, from: [student, data.test.__class__], metrics: [accuracy]}",
        "__class__",
    ),
    (
        "a step by its path",
        "x: {stage: train, from: {m: student, data: data.train, optimizer: optimizer}, step: os.system, epochs: 1}",
        "x",
    ),
]

STEPS = [
    ("a tap by underscores", "s: {taps: {x: __init__.__globals__}}", "plan", "x|taps"),
    ("a tap of a method", "s: {taps: {x: forward.__globals__}}", "plan", "x|taps"),
    ("an end by underscores", "s: {until: __class__}", "plan", "until|__class__"),
    (
        "an inner call by underscores",
        "x: {call: student.__class__, from: [batch.image]}, ce: {op: cross_entropy, from: [x.logits, batch.label]}",
        "plan",
        "__class__",
    ),
    ("a patch by underscores", "s: {patch: [__dict__]}", "plan", "patch|__dict__"),
    ("a forward's argument", "s: {__class__: 1}", "plan", "__class__"),
]

GROUPS = [
    ("a model by its path", "student: {model: torch.nn.Linear, in_features: 1, out_features: 1}", "student"),
    ("a model with a target", "student: {_target_: torch.nn.Linear}", "student"),
    ("data by their path", "data: {data: sklearn.datasets.load_files, container_path: '{outside}'}", "data"),
    ("an optimizer by its path", "optimizer: {optimizer: torch.optim.SGD, lr: 1}", "optimizer"),
    ("a transform by its path", "data: {augment: [{transform: PIL.Image.open}]}", "augment|PIL"),
    ("a schedule by its path", "optimizer: {schedule: {schedule: os.system}}", "schedule"),
    ("a tracker by its path", "tracker: {tracker: kdrun.tracking.trackers.Local}", "tracker"),
]

CHOICES = [
    ("data above", "override /data: ../../../outside/evil", ""),
    ("data at the root", "override /data: '{outside}/evil'", ""),
    ("data by a scheme", "override /data: 'file://{outside}/evil'", ""),
    ("data of a package", "override /data: 'pkg://os/evil'", ""),
    ("a method above", "override /transfer: ../../../../outside/evil", ""),
    ("a method beside", "override /transfer: distillation/../../data/digits", ""),
    ("a group that climbs", "'/../outside@data': evil", ""),
    ("a list that climbs", "override /steps: [supervised, ../../../outside/evil]", ""),
    ("a choice computed", "override /data: '${oc.env:SECRET}'", ""),
]

ARMS = [
    ("data of an arm", "arms: {a: {data: ../../../outside/evil}}", "run arm=a"),
    ("a teacher of an arm", "arms: {a: {teacher: '{outside}/evil'}}", "check"),
    ("a method of an arm", "arms: {a: {transfer: ../../../outside/evil}}", "check"),
    ("a method of a scale", "scales: {smoke: {transfer: distillation/../../../outside/evil}}", "run scale=smoke"),
    ("a student of a scale", "scales: {smoke: {student: ../../../outside/evil}}", "check scale=smoke"),
]

EVIL = {"../outside/evil.yaml": GLOBAL + "data: digits\nplugins: [touches.py]\nlimit: null\n", "touches.py": TOUCHES}

ASKS = [
    ("an environment with a default", "epochs: ${oc.env:EPOCHS,1}"),
    ("an environment by halves", "half: oc\nepochs: ${${half}.env:EPOCHS,1}"),
    ("a nested environment", "epochs: ${add:1,${oc.env:EPOCHS,1}}"),
    ("an old environment", "epochs: ${env:EPOCHS,1}"),
    ("an environment of an arm", "arms: {a: {epochs: '${oc.env:EPOCHS,1}'}}"),
    ("an environment decoded", "epochs: ${oc.decode:${oc.env:EPOCHS,'1'}}"),
    ("the time", "seed: ${now:%s}"),
    ("something made", "x: '${oc.create:{a: 1}}'"),
    ("something out of date", "x: '${oc.deprecated:epochs}'"),
    ("an evaluation", "epochs: ${eval:'1+1'}"),
    ("an environment that is selected", "epochs: ${oc.select:x,${oc.env:EPOCHS,1}}"),
    ("an environment that is not chosen", "epochs: ${if:true,1,${oc.env:EPOCHS,1}}"),
]

TOLD = [
    ("an environment", "notes: ['${oc.env:SECRET}']"),
    ("the folder", "notes: ['${hydra:runtime.cwd}']"),
    ("the words of the command line", "notes: ['${hydra:overrides.task}']"),
    ("the version of Python", "notes: ['${python_version:micro}']"),
    (
        "an environment in a claim",
        "arms: {a: {}}\nclaims: {c: {test: a.test.accuracy > 0.1, says: '${oc.env:SECRET}'}}",
    ),
]
"""What is text for a reader, in which nothing is computed."""

TAGS = [
    ("a call", "x: !!python/object/apply:os.system ['touch {mark}']"),
    ("an object", "x: !!python/object:pathlib.Path {}"),
    ("a new object", "x: !!python/object/new:pathlib.Path ['{mark}']"),
    ("a name", "x: !!python/name:os.system"),
    ("a module", "x: !!python/module:os"),
    ("bytes", "x: !!binary aGVsbG8="),
    ("a tag of its own", "x: !include '{outside}/evil.yaml'"),
    ("a set", "x: !!set {a, b}"),
    ("an anchor", "x: &a [1]\ny: *a"),
    ("an anchor alone", "x: &a [1]"),
    ("a merge", "x: {a: 1}\ny: {<<: {a: 2}}"),
    ("two documents", "x: 1\n---\nplugins: [touches.py]"),
    ("a key twice", "epochs: 1\nepochs: 2"),
]


def _link_options(world: World) -> None:
    (world.outside / "evil.yaml").write_text("data: treasure\nsecret: treasure\n")
    (world.work / "conf" / "data").mkdir(parents=True)
    (world.work / "conf" / "data" / "evil.yaml").symlink_to(world.outside / "evil.yaml")


def _link_folder(world: World) -> None:
    (world.outside / "evil.yaml").write_text("data: treasure\n")
    (world.work / "conf").mkdir(parents=True)
    (world.work / "conf" / "data").symlink_to(world.outside)


def _repository(world: World) -> None:
    """A repository whose own settings name a program for each thing that git may look at."""
    git = world.work / ".git"
    for name in ("objects", "refs/heads", "hooks", "info"):
        (git / name).mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    (git / "refs" / "heads" / "main").write_text("0123456789" * 4 + "\n")
    (git / "info" / "attributes").write_text("* filter=evil diff=evil\n")
    touch = f"touch {world.mark}"
    named = (
        f'[core]\n\trepositoryformatversion = 0\n\tbare = false\n\tfsmonitor = "{touch}; false"\n\tpager = "{touch}"\n'
    )
    (git / "config").write_text(f'{named}[filter "evil"]\n\tclean = "{touch}; cat"\n[diff]\n\texternal = "{touch}"\n')
    for name in ("post-index-change", "pre-auto-gc", "fsmonitor-watchman"):
        (git / "hooks" / name).write_text(f"#!/bin/sh\n{touch}\n")
        (git / "hooks" / name).chmod(0o755)


CASES = [
    recipe("part, a device of another kind", "hardware: {device: 'cpu; touch {mark}'}\n", "device", command="run"),
    Case(
        "asks, a repository with programs of its own",
        ("run", "quick.yaml"),
        "records",
        files={"quick.yaml": ALONE + "graph: {n: {op: constant, shape: [2]}}\n"},
        prepare=_repository,
        code=0,
        lines=2,
    ),
    *(recipe(f"part, {name}", f"graph:\n  {node}\n", says, header=ALONE) for name, node, says in NODES),
    *(
        recipe(f"part, {name}", f"graph: {{fit_student: {{step: {{nodes: {{{node}}}}}}}}}\n", says, command=command)
        for name, node, command, says in STEPS
    ),
    *(recipe(f"part, {name}", body + "\n", says) for name, body, says in GROUPS),
    *(
        recipe(
            f"climbs, {name}",
            "",
            "stranger.yaml|data|transfer|steps",
            files=EVIL,
            header=f"{GLOBAL}defaults: [{{{entry}}}]\n",
        )
        for name, entry, _ in CHOICES
    ),
    *(
        recipe(
            f"climbs, {name}", body + "\n", "(data|teacher|student|transfer) has no option", command=command, files=EVIL
        )
        for name, body, command in ARMS
    ),
    Case("climbs, data of the command line", ("check", "kd", "data=../../../outside/evil"), "data", files=EVIL),
    Case("climbs, a recipe's option is a link", ("check", "kd", "data=evil"), "data", prepare=_link_options),
    Case("climbs, a folder of options is a link", ("check", "kd", "data=evil"), "data", prepare=_link_folder),
    *(recipe(f"asks, {name}", body + "\n", r"\$\{|oc\.|hydra|now|stranger", files={}) for name, body in ASKS),
    *(recipe(f"asks, {name}, as text", body + "\n", "all well", code=0, lines=0) for name, body in TOLD),
    *(recipe(f"yaml, {name}", body + "\n", "stranger.yaml", files={"touches.py": TOUCHES}) for name, body in TAGS),
]
