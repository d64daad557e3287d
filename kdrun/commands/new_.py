"""``kdrun new NAME``: a project of one's own in a new folder, which runs as it stands."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from kdrun.commands.arguments import Parser
from kdrun.commands.output import say
from kdrun.config.paths import template_dir
from kdrun.errors import InputError, steers_a_terminal

__all__ = ["files_of_template", "main"]

NEXT = """{folder} has a recipe, a method, a model, data and a plug-in of your own. Next:
  cd {quoted}
  kdrun run my_study scale=smoke plugins=[parts.py]
  kdrun reproduce my_study plugins=[parts.py]
README.md there says what to change."""


def main(arguments: Sequence[str]) -> int:
    parser = Parser(prog="kdrun new", description="Begin a project of your own: a folder with all that a study needs.")
    parser.add_argument("name", help="the folder to make")
    name = parser.parse_args(list(arguments)).name
    if not name.strip() or steers_a_terminal(name):
        raise InputError(f"a project has a name that can be read, got '{name}'")
    folder = Path(os.path.normpath(Path(name).expanduser()))
    _copy(template_dir() / "project", folder)
    say(NEXT.format(folder=folder, quoted=shlex.quote(str(folder))))
    return 0


def files_of_template(template: Path) -> list[Path]:
    """The files to copy; an installer leaves what it compiled beside them."""
    return sorted(path for path in template.rglob("*") if path.is_file() and path.suffix != ".pyc")


def _copy(template: Path, folder: Path) -> None:
    """Copy a template's files with the project's name in them. Raises ``InputError`` if the folder cannot be made or is in use."""
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"{folder} is there already and not empty: choose another name")
        for source in files_of_template(template):
            target = folder / source.relative_to(template)
            target.parent.mkdir(parents=True, exist_ok=True)
            text = source.read_text(encoding="utf-8").replace("PROJECT", folder.resolve().name)
            target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {error.filename or folder}: {error.strerror}") from None
