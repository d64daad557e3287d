"""Where configuration lies: shipped with the package, and in the working folder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kdrun.config.hydra_state import is_hydra_13
from kdrun.errors import InputError, nearest

__all__ = [
    "RecipeFile",
    "conf_dir",
    "files_of",
    "find_recipe",
    "group_folders",
    "group_options",
    "groups",
    "groups_in",
    "is_installed",
    "one_piece",
    "recipe_files",
    "search_path",
    "template_dir",
    "with_folders",
]

_FOLDER = "\N{DIVISION SLASH}"
"""What stands for the slash in the name of an option while Hydra 1.4 handles it."""

_PACKAGE = Path(__file__).parent.parent

_SHARED = {"model": ("teacher", "student")}
"""Folders that hold no group of their own name, but options of several groups alike."""


def _shipped() -> Path:
    """The folder holding ``conf`` and ``recipes``: inside the wheel, or the checkout's top level."""
    inside = _PACKAGE / "_config"
    return inside if inside.is_dir() else _PACKAGE.parent


def conf_dir() -> Path:
    """The folder of the shipped config groups."""
    return _shipped() / "conf"


def is_installed(path: Path) -> bool:
    """Whether a file of groups or recipes is the installed package's."""
    found = path.resolve()
    return any(found.is_relative_to((_shipped() / name).resolve()) for name in ("conf", "recipes"))


def template_dir() -> Path:
    """The folder of what ``kdrun new`` copies."""
    return _shipped() / "templates"


@dataclass(frozen=True)
class RecipeFile:
    """A recipe by its name (``distillation/kd``) and the file that holds it."""

    name: str
    path: Path


def _roots() -> list[Path]:
    """Folders that hold a ``recipes`` folder; the working folder's recipes win."""
    here = Path.cwd()
    roots = [here] if (here / "recipes").is_dir() and here.resolve() != _shipped().resolve() else []
    return [*roots, _shipped()]


def recipe_files() -> Iterator[RecipeFile]:
    """All recipes, each name once."""
    seen = set()
    for root in _roots():
        folder = root / "recipes"
        for path in sorted(folder.rglob("*.yaml")):
            name = path.relative_to(folder).with_suffix("").as_posix()
            if name not in seen and path.is_file():
                seen.add(name)
                yield RecipeFile(name, path)


def find_recipe(name: str) -> RecipeFile:
    """Find a recipe by path to a YAML file, full name, or last part of its name.

    Raises ``InputError`` with the nearest name if there is none, or more than one.
    """
    if name.endswith((".yaml", ".yml")):
        path = Path(name).expanduser()
        if not path.is_file():
            raise InputError(f"recipe file {name} does not exist")
        path = path.resolve()
        inside = next(
            (root / "recipes" for root in _roots() if path.is_relative_to((root / "recipes").resolve())), None
        )
        name = path.relative_to(inside.resolve()).with_suffix("").as_posix() if inside is not None else path.stem
        if not re.fullmatch(r"[\w./-]+", name):
            raise InputError(f"a recipe's name has letters, digits, '.', '-' and '_' alone, got {name!r}")
        return RecipeFile(name, path)
    known = list(recipe_files())
    exact = [r for r in known if r.name == name]
    short = [r for r in known if r.name.rpartition("/")[2] == name]
    found = exact or short
    if len(found) > 1:
        raise InputError(f"recipe '{name}' is ambiguous: {', '.join(r.name for r in found)}")
    if not found:
        names = [r.name for r in known]
        hint = nearest(name, [*names, *(n.rpartition("/")[2] for n in names)])
        raise InputError(f"no recipe is called '{name}'{hint}; `kdrun list papers` shows them all")
    return found[0]


def search_path(recipe: RecipeFile | None = None) -> list[tuple[str, str]]:
    """Where Hydra searches, the first match winning: names of providers, and addresses of groups and recipes.

    A recipe from elsewhere comes with its folder, in which nothing else is read.
    """
    groups = [("main" if p == conf_dir() else "own", f"groups://{p}") for p in group_folders()]
    recipes = [("recipes", f"recipes://{root}") for root in _roots()]
    if recipe is not None and not any(recipe.path.is_relative_to(root / "recipes") for root in _roots()):
        recipes.insert(0, ("recipe", f"onerecipe://{recipe.path}"))
    return [*groups, *recipes]


def group_folders() -> list[Path]:
    """The groups of the working folder, whose options win, then the shipped ones."""
    own = Path.cwd() / "conf"
    return [*([own] if own.is_dir() and own.resolve() != conf_dir().resolve() else []), conf_dir()]


def files_of(name: str) -> list[str]:
    """Where a group or one of its options may lie in a folder of groups, the first place winning.

    ``student/cnn_tiny`` lies in ``student/``, or in ``model/`` with the teacher's; ``model`` itself is no group.
    """
    group, slash, option = name.partition("/")
    own = [] if group in _SHARED else [name]
    return [*own, *(f"{folder}{slash}{option}" for folder, served in _SHARED.items() if group in served)]


def groups() -> list[str]:
    """Names of the config groups."""
    return sorted({name for folder in group_folders() for name in groups_in(folder)})


def groups_in(folder: Path) -> set[str]:
    """Names of the groups that a folder has options of."""
    inner = [path.name for path in folder.iterdir() if path.is_dir()]
    return {group for name in inner for group in _SHARED.get(name, (name,))}


def group_options(group: str) -> dict[str, Path]:
    """The choices of one group, nested ones with their folders, and the files that hold them."""
    options = {}
    for root in reversed([folder / name for folder in group_folders() for name in files_of(group)]):
        for path in sorted(root.rglob("*.yaml")):
            options[path.relative_to(root).with_suffix("").as_posix()] = path
    return options


def one_piece(option: str) -> str:
    """The name of an option as Hydra gets it.

    Hydra 1.4 reads ``transfer: distillation/kd`` as the option ``kd`` of a group ``transfer/distillation``, which a choice from
    ``transfer`` no longer meets.
    """
    return option if is_hydra_13() else option.replace("/", _FOLDER)


def with_folders(path: str) -> str:
    """The path of an option's file, from the one that Hydra gives."""
    return path.replace(_FOLDER, "/")
