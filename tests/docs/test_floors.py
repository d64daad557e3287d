"""Imports point down: every package stands on a floor, and nothing imports from a higher one or in a circle."""

from __future__ import annotations

import ast
import graphlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "kdrun"

FLOORS = (
    ("cli",),
    ("commands",),
    ("api",),
    ("report",),
    ("engine",),
    ("stages",),
    ("step",),
    ("parts",),
    ("graph", "claims"),
    ("runtime",),
    ("data", "models"),
    ("metrics", "ops", "optim", "tracking"),
    ("config",),
    ("grammar",),
    ("registry",),
    ("errors", "limits", "types", "randomness"),
)
"""From the top. What stands on one floor may import its neighbours; `docs/architecture.md` shows the same table."""

HEIGHT = {name: -number for number, floor in enumerate(FLOORS) for name in floor}
ENTRANCES = ("kdrun", "kdrun.__main__")
"""What stands outside: the version and the lazy public face, and ``python -m kdrun``."""


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        found[name] = path
    return found


def imported(path: Path, known: set[str]) -> Iterator[str]:
    """The kdrun modules that a file imports, also inside functions; not those for types alone, which never load."""
    todo: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            todo += node.orelse
            continue
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports name the whole path"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield from (name for name in [whole if whole in known else str(node.module)] if name in known)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        todo += ast.iter_child_nodes(node)


def arrows() -> dict[str, set[str]]:
    known = modules()
    return {name: set(imported(path, set(known))) - {name} for name, path in known.items()}


def floor(module: str) -> str:
    return module.split(".")[1]


def test_every_package_has_a_floor() -> None:
    assert {floor(name) for name in modules() if name not in ENTRANCES} == set(HEIGHT)


def test_no_module_imports_from_a_higher_floor() -> None:
    upward = [
        f"{name} imports {target}"
        for name, targets in arrows().items()
        for target in sorted(targets)
        if name not in ENTRANCES and target not in ENTRANCES and HEIGHT[floor(target)] > HEIGHT[floor(name)]
    ]
    assert not upward, "\n".join(upward)


def test_no_imports_go_in_a_circle() -> None:
    inner = {name: targets - {"kdrun"} for name, targets in arrows().items() if name != "kdrun"}
    try:
        graphlib.TopologicalSorter(inner).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" → ".join(reversed(error.args[1])))


def test_the_page_shows_these_floors() -> None:
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \d+ \| (.*?) \|", page, re.M)
    assert [tuple(re.findall(r"`(\w+?)(?:\.py)?`", row)) for row in rows] == list(FLOORS)


READMES = sorted(
    {*PACKAGE.rglob("README.md"), *(ROOT / f / "README.md" for f in ("conf", "recipes", "scripts", "tests", "docs"))}
)


def test_every_folder_says_what_belongs_there() -> None:
    folders = [path.parent for path in PACKAGE.glob("*/__init__.py")]
    assert not [str(folder) for folder in folders if folder / "README.md" not in READMES]


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.parent.relative_to(ROOT).as_posix())
def test_what_a_folder_says_of_its_files_is_so(readme: Path) -> None:
    text = readme.read_text(encoding="utf-8")
    named = {name for name in re.findall(r"`([\w/]+\.(?:py|yaml|md))`", text) if not re.search("[A-Z]{3}", name)}
    named |= set(re.findall(r"\]\(([^)#:]+)\)", text))
    assert not [n for n in named if not any((place / n).exists() for place in (readme.parent, PACKAGE, ROOT))]
