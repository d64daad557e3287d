"""What the documents show works: recipes check and plan, command lines compose."""

from __future__ import annotations

import itertools
import re
import shlex
import shutil
from pathlib import Path

import pytest
import yaml

from kdrun.commands.table import COMMANDS
from kdrun.config.compose import Composer
from kdrun.config.experiment import Selection
from kdrun.config.hydra_loader import Loader
from kdrun.config.paths import find_recipe, template_dir
from kdrun.config.search_space import parse_space
from kdrun.errors import InputError
from kdrun.graph.check import check
from kdrun.registry import catalog_with

ROOT = Path(__file__).parents[2]

PAGES = [
    ROOT / name
    for name in ("README.md", "CONTRIBUTING.md", "docs/grammar.md", "docs/features.md", "docs/architecture.md")
]

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.M | re.S)


def blocks(kind: str) -> list[tuple[str, str]]:
    return [
        (f"{page.name}:{text.count(chr(10), 0, match.start()) + 1}", match.group(2))
        for page in PAGES
        for text in [page.read_text(encoding="utf-8")]
        for match in BLOCK.finditer(text)
        if match.group(1) == kind
    ]


FILES = [(place, body) for place, body in blocks("yaml") if re.match(r"# (recipes|conf)/\S+\.yaml\n", body)]

LINES = [
    (place, line.split("#", 1)[0].strip())
    for place, body in blocks("sh")
    for line in body.splitlines()
    if line.startswith("kdrun ")
]


def written(folder: Path) -> list[str]:
    """Put every file that the documents show where it says; return the recipes' names."""
    recipes = []
    for _, body in FILES:
        first, rest = body.split("\n", 1)
        path = folder / first.lstrip("# ").strip()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(rest, encoding="utf-8")
        if path.is_relative_to(folder / "recipes"):
            recipes.append(path.relative_to(folder / "recipes").with_suffix("").as_posix())
    return recipes


def test_the_recipes_shown_check_in_every_arm_and_scale_and_plan(tmp_path, kdrun) -> None:
    names = written(tmp_path)
    assert len(names) >= 6
    for name in names:
        config = Composer.named(name).base().config
        for scale in (None, *(config.get("scales") or {})):
            answer = kdrun("check", name, *([f"scale={scale}"] if scale else []))
            assert answer.code == 0, f"{name}: {answer.err}"
        answer = kdrun("plan", name)
        assert answer.code == 0, f"{name}: {answer.err}"


@pytest.mark.parametrize(("place", "body"), blocks("yaml"), ids=[p for p, _ in blocks("yaml")])
def test_yaml_shown_is_of_the_present_grammar(place, body) -> None:
    if "…" not in body:
        yaml.safe_load(body)
    for word in ("<<:", "updates: {main:", "transfer: own", "greater:", "every_seed"):
        assert word not in body
    assert not re.search(r"^\s*main:", body, re.M) or "updates:" in body
    assert not re.search(r"[&*][a-z]\w*", body.replace("glob(*", "")), "anchors"


def expanded(recipe: str, texts: list[str], many: bool) -> list[list[str]]:
    """The override lists of a command line, one a job of a multirun."""
    if not many:
        return [texts]
    from hydra.core.override_parser.overrides_parser import OverridesParser

    loader = Loader(find_recipe(recipe))
    if "sweeper=optuna" in texts:  # one trial stands for all
        knobs, fixed = parse_space(
            [text for text in texts if not text.startswith(("sweeper=", "hydra."))], None, loader
        )
        return [[*fixed, *(knob.override(knob.first()) for knob in knobs)]]
    parser = OverridesParser.create(config_loader=loader)
    found = []
    for text in texts:
        parsed = parser.parse_overrides([text])[0]
        sweeps = parsed.is_sweep_override()
        found.append([f"{parsed.get_key_element()}={v}" for v in parsed.sweep_string_iterator()] if sweeps else [text])
    return [list(row) for row in itertools.product(*found)]


@pytest.mark.parametrize(("place", "line"), LINES, ids=[f"{p} {line}" for p, line in LINES])
def test_command_lines_shown_compose(place, line, tmp_path, monkeypatch) -> None:
    if "my_study" in line:  # inside what `kdrun new` makes
        shutil.copytree(template_dir() / "project", tmp_path, dirs_exist_ok=True)
    written(tmp_path)
    monkeypatch.chdir(tmp_path)
    command, *rest = shlex.split(line)[1:]
    assert command in COMMANDS
    if command not in ("run", "reproduce", "plan", "show", "check") or "RECIPE" in rest or "PAPER" in rest:
        return
    recipe, *texts = [word for word in rest if not word.startswith("-")]
    for row in expanded(recipe, texts, "-m" in rest):
        if any("FILE" in text or "FOLDER" in text for text in row):
            continue
        selection = Selection.of(row)
        composer = Composer.named(recipe, selection.overrides)
        experiment = composer.compose(arm=selection.arm, scale=selection.scale)
        plugins = [plugin for plugin in experiment.config["plugins"] if Path(plugin).is_file()]
        try:
            with catalog_with(plugins):
                assert check(experiment.config).targets
        except InputError as error:
            raise experiment.explain(error) from None


def test_the_method_that_the_readme_shows_whole_is_the_file() -> None:
    shown = (ROOT / "conf/transfer/distillation/attention.yaml").read_text(encoding="utf-8")
    assert f"```yaml\n{shown}```" in (ROOT / "README.md").read_text(encoding="utf-8")
