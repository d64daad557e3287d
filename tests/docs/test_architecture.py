"""docs/architecture.md: every place that it names is there, and the parts and the recipe that it shows run."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from kdrun.registry.kinds import HOOKS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
PLACES = sorted(set(re.findall(r"`((?:kdrun|tests|scripts|conf|recipes)/[\w/]+\.py)(?::([\w.]+))?`", PAGE)))
FOLDERS = sorted(set(re.findall(r"`((?:kdrun|tests|scripts|conf|recipes)/(?:\w+/)*)`", PAGE)))
BLOCK = re.compile(r"^```\w+\n# (my_\w+\.\w+)\n(.*?)^```", re.M | re.S)


def defined(path: Path) -> set[str]:
    """Names of a module: ``function``, ``Class``, ``Class.method``, ``CONSTANT``."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
            inner = node.body if isinstance(node, ast.ClassDef) else []
            found |= {f"{node.name}.{n.name}" for n in inner if isinstance(n, ast.FunctionDef)}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


@pytest.mark.parametrize(("path", "name"), PLACES)
def test_every_function_that_the_page_names_stands_there(path, name) -> None:
    if "NAME" in path:
        return
    assert (ROOT / path).is_file()
    assert not name or name in defined(ROOT / path)


def test_every_mark_of_what_a_stage_or_part_says_is_explained() -> None:
    assert not [mark for mark in HOOKS if f"`@{mark}" not in PAGE]


def test_every_folder_that_the_page_names_is_there() -> None:
    assert len(FOLDERS) >= 10
    assert not [
        folder
        for folder in FOLDERS
        if "NAME" not in folder and not re.search("[A-Z]{3}", folder) and not (ROOT / folder).is_dir()
    ]


@pytest.fixture
def shown(tmp_path) -> Path:
    """The plug-in and the recipe of the page, in a folder."""
    files: dict[str, str] = {}
    for name, body in BLOCK.findall(PAGE):
        files[name] = files.get(name, "") + body
    assert set(files) == {"my_parts.py", "my_recipe.yaml"}
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_the_parts_and_the_recipe_that_the_page_shows_check_plan_and_run(kdrun, shown) -> None:
    recipe, plugins = str(shown / "my_recipe.yaml"), f"plugins=[{shown / 'my_parts.py'}]"
    for command in ("check", "plan"):
        answer = kdrun(command, recipe, plugins)
        assert answer.code == 0, answer.err
    answer = kdrun("run", recipe, plugins)
    assert answer.code == 0, answer.err
    assert {"test.smallest_margin", "rows.rarest", "rows.commonest"} <= {
        line.split()[0] for line in answer.out.splitlines()
    }
    other = kdrun("check", recipe, plugins, "claims.balanced.test='some.rows.rares > 5'")
    assert other.code == 2
    assert "did you mean 'rows.rarest'?" in other.err
    wrong = kdrun("check", recipe, plugins, "rows.column=index")
    assert wrong.code == 2
    assert "every row has an index of its own" in wrong.err
