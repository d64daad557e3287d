"""Wrong words on the command line: overrides, sweeps, flags, names of recipes, runs and files."""

from __future__ import annotations

from support.hostile import Case, World

KD = ("check", "kd")

OVERRIDES = [
    ("nothing but a sign", "=", "setting"),
    ("no name", "=3", "setting"),
    ("no value", "epochs=", "epochs"),
    ("no sign", "epochs", "epochs"),
    ("two signs", "epochs==2", "epochs"),
    ("a list that is open", "epochs=[1", "epochs"),
    ("a mapping that is open", "student={model: mlp", "student"),
    ("a quote that is open", "epochs='1", "epochs"),
    ("several values without -m", "epochs=1,2", "epochs"),
    ("a list for a number", "epochs=[1,2]", "epochs"),
    ("a mapping for a number", "epochs={a:1}", "epochs"),
    ("a word for a number", "epochs=many", "epochs"),
    ("an unknown name", "epohcs=2", "did you mean"),
    ("an unknown name below", "optimizer.rl=2", "did you mean"),
    ("a name below a number", "epochs.x=2", "epochs"),
    ("points alone", "...=2", "=2|'\\.'|\\.\\.\\."),
    ("a point at the end", "epochs.=2", "epochs"),
    ("a point at the beginning", ".epochs=2", "epochs"),
    ("an addition without a name", "+=2", "setting"),
    ("a deletion of what is not there", "~nobody", "nobody"),
    ("a deletion of all", "~", "setting"),
    ("a deletion of a group", "~student", "student"),
    ("a deletion of the graph", "~graph", "graph"),
    ("an unknown arm", "arm=dk", "did you mean"),
    ("a list of arms", "arm=[kd]", "arm"),
    ("a mapping for a scale", "scale={}", "scale"),
    ("an unknown scale", "scale=smoek", "did you mean"),
    ("no data", "data=", "data"),
    ("null for data", "data=null", "data"),
    ("a number for data", "data=3", "data"),
    ("a mapping for data", "data={data: 3}", "data"),
    ("a list for a group", "student=[mlp_tiny]", "student"),
    ("a graph that is none", "graph=3", "graph"),
    ("a node that is none", "fit_student=3", "fit_student"),
    ("a seed that is none", "seed=x", "seed"),
    ("claims that are none", "claims=[x]", "claims"),
    ("an interval", "epochs=interval(1,2)", "epochs"),
    ("an interpolation that is open", "epochs=${", "epochs"),
    ("an interpolation of nothing", "epochs=${nobody}", "nobody"),
    ("plugins that are none", "plugins=[nobody.py]", "nobody.py"),
    ("plugins that are numbers", "plugins=[3]", "plugins"),
    ("plugins of no module", "plugins=[nobody.at.all]", "nobody"),
    ("a store that is a number", "store=[3]", "store"),
]

COMMANDS = [
    ("no command that is", ("runn", "kd"), "runn"),
    ("an empty command", ("", "kd"), "command"),
    ("a command of points", ("..", "kd"), r"\.\."),
    ("no recipe", ("check",), "recipe"),
    ("an empty recipe", ("check", ""), "recipe"),
    ("a point for a recipe", ("check", "."), r"\."),
    ("two points for a recipe", ("run", ".."), r"\.\."),
    ("the root for a recipe", ("run", "/"), "/"),
    ("a folder for a recipe", ("run", "{outside}"), "outside"),
    ("a recipe that is not there", ("run", "nobody.yaml"), "nobody.yaml"),
    ("a recipe above", ("run", "../nobody"), "nobody"),
    ("a pattern for a recipe", ("check", "*"), r"\*"),
    ("an override for a recipe", ("check", "epochs=2"), "epochs=2"),
    ("a flag for a recipe", ("run", "--nobody"), "--nobody"),
    ("an unknown flag", ("check", "kd", "--nobody"), "--nobody"),
    ("an unknown flag of run", ("run", "kd", "--nobody"), "--nobody"),
    ("an unknown configuration to show", ("run", "kd", "--cfg", "nobody"), "--cfg"),
    ("a folder of configurations", ("run", "kd", "--config-dir", "nobody"), "nobody|config-dir"),
    ("another name of a configuration", ("run", "kd", "--config-name", "nobody"), "nobody|config-name"),
    ("a path of configurations", ("run", "kd", "--config-path", "{outside}"), "config-path"),
    ("a sweep over nothing", ("run", "kd", "scale=smoke", "-m", "seed="), "seed"),
    ("a sweep over commas", ("run", "kd", "scale=smoke", "-m", "arm=,"), "arm"),
    ("a sweep with a bad value", ("run", "kd", "scale=smoke", "-m", "arm=kd,dk"), "dk"),
    ("a sweep over a pattern of nothing", ("run", "kd", "scale=smoke", "-m", "transfer=glob(nobody*)"), "nobody"),
    ("a sweep over a bad range", ("run", "kd", "scale=smoke", "-m", "seed=range(3,1)"), "seed"),
    ("a sweep over a range without steps", ("run", "kd", "scale=smoke", "-m", "seed=range(1,3,0)"), "seed|range"),
    (
        "a sweeper that is not there",
        ("run", "kd", "scale=smoke", "-m", "hydra/sweeper=nobody", "seed=0,1"),
        "nobody|hydra",
    ),
    ("a launcher that is not there", ("run", "kd", "scale=smoke", "-m", "launcher=nobody", "seed=0,1"), "nobody"),
    ("a format that is none", ("show", "kd", "--format", "pdf"), "pdf"),
    ("a picture into nowhere", ("show", "kd", "--format", "svg", "--output", "nobody/x.svg"), "nobody"),
    ("a picture into a folder", ("show", "kd", "--format", "svg", "--output", "{work}"), "work"),
    ("a topic that is none", ("list", "nobody"), "nobody"),
    ("a kind that is none", ("list", "parts", "--kind", "nobody"), "nobody"),
    ("nothing to explain", ("explain",), "KIND|explain"),
    ("a part that is not there", ("explain", "op", "nobody"), "nobody"),
    ("a kind without a name", ("explain", "op"), "op"),
    ("no arms", ("reproduce", "kd", "scale=smoke", "--arms", ""), "arm"),
    ("arms that are not there", ("reproduce", "kd", "scale=smoke", "--arms", "nobody"), "nobody"),
    ("no processes", ("reproduce", "kd", "scale=smoke", "--jobs", "0"), "jobs"),
    ("processes below none", ("reproduce", "kd", "scale=smoke", "--jobs", "-1"), "jobs"),
    ("processes that are a word", ("reproduce", "kd", "scale=smoke", "--jobs", "many"), "jobs"),
    ("most seeds alone", ("reproduce", "kd", "scale=smoke", "--max-seeds", "3"), "max-seeds|until-decided"),
    ("most seeds below none", ("reproduce", "kd", "scale=smoke", "--until-decided", "--max-seeds", "-3"), "max-seeds"),
    ("an export of nothing", ("export", "kd"), "kd|store|fit_student"),
    ("an export of no stage", ("export", "kd", "--stage", "nobody"), "nobody"),
    ("an export of no run", ("export", "nobody/run"), "nobody"),
    ("an age that is none", ("gc", "--older-than", "nan"), "older-than"),
    ("an age below none", ("gc", "--older-than", "-1"), "older-than"),
    ("an age that is a word", ("gc", "--older-than", "old"), "older-than"),
    ("a size below none", ("gc", "--size", "-1"), "size"),
    ("a size without end", ("gc", "--size", "inf"), "size"),
    ("a run that is not there", ("gc", "--run", "nobody"), "nobody"),
    ("a recipe that was not run", ("gc", "--recipe", "nobody"), "nobody"),
    ("a project of points", ("new", ".."), r"\.\."),
    ("a project without a name", ("new", ""), "name"),
    ("a project below what is not there", ("new", "a/b/c/../../../.."), r"\.\."),
    ("a completion that is none", ("-sc", "install=nobody"), "nobody"),
]

RIGHT = [
    ("an addition of what is there", (*KD, "+epochs=2"), "all well"),
    ("no arm", (*KD, "arm="), "all well"),
    ("a list in order", (*KD, "epochs=sort(1)"), "all well"),
    ("methods of no protocol", ("list", "methods", "nobody"), "your own"),
    ("a store that is not there", ("gc", "--store", "nobody"), "nobody"),
    ("records of nothing", ("runs", "--runs", "nobody"), "nobody"),
    ("records sorted by nothing", ("runs", "--sort", "nobody"), "runs"),
]
"""What looks wrong and is not."""


def _unreadable(world: World) -> None:
    (world.work / "stranger.yaml").mkdir()


def _loop(world: World) -> None:
    (world.work / "stranger.yaml").symlink_to("stranger.yaml")


def _dangling(world: World) -> None:
    (world.work / "stranger.yaml").symlink_to("nobody.yaml")


CASES = [
    *(Case(f"override, {name}", (*KD, word), says) for name, word, says in OVERRIDES),
    *(Case(f"command, {name}", words, says) for name, words, says in COMMANDS),
    Case("a recipe that is a folder", ("check", "stranger.yaml"), "stranger.yaml", prepare=_unreadable),
    Case("a recipe that is a link to itself", ("check", "stranger.yaml"), "stranger.yaml", prepare=_loop),
    Case("a recipe that is a link to nothing", ("check", "stranger.yaml"), "stranger.yaml", prepare=_dangling),
    *(Case(f"right, {name}", words, says, code=0, lines=1) for name, words, says in RIGHT),
    Case("a package that is not there", ("run", "kd", "--cfg", "job", "--package", "nobody"), "nobody", code=1),
    Case(
        "a project where the user says",
        ("new", "{outside}"),
        "outside",
        code=0,
        lines=0,
        changes=("outside",),
        may=("read",),
    ),
    Case("a seed of the environment", (*KD,), "KDRUN_NODES", environment={"KDRUN_NODES": "many"}),
    Case("a limit below none", (*KD,), "KDRUN_DEPTH", environment={"KDRUN_DEPTH": "-1"}),
    Case("a store that is a file", ("run", "kd", "scale=smoke", "store=file"), "file", files={"file": ""}),
    Case("records that are a file", ("run", "kd", "scale=smoke", "runs=file"), "file", files={"file": ""}),
    Case("a store below a file", ("doctor", "--store", "file/x"), "file/x cannot be", files={"file": ""}, code=1),
]
