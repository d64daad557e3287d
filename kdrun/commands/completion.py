"""Tab completion: Hydra's own, for overrides after a recipe; commands and recipes before it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from kdrun.errors import InputError

__all__ = ["main"]

WITH_RECIPE = ("show", "check", "plan", "run", "reproduce", "report")


def main(arguments: Sequence[str]) -> int:
    """Answer ``-sc install=bash``, ``-sc uninstall=bash`` and ``-sc query=bash`` (the line is in ``COMP_LINE``)."""
    line = os.environ.get("COMP_LINE", "")
    if "query" in " ".join(arguments):
        words = line.split()
        typing = "" if line.endswith(" ") else words.pop() if words else ""
        if len(words) <= 1 or (len(words) == 2 and words[1] in WITH_RECIPE):
            print("\n".join(word for word in _words(words) if word.startswith(typing)))
            return 0
        if words[1] in WITH_RECIPE:
            _rewrite(words, typing)
    _hydra(arguments)
    return 0


def _words(words: Sequence[str]) -> list[str]:
    """What may stand next: a command, or a recipe."""
    if len(words) <= 1:
        from kdrun.cli import COMMANDS

        return list(COMMANDS)
    from kdrun.config.paths import recipe_files

    names = [r.name for r in recipe_files()]
    return sorted({*names, *(n.rpartition("/")[2] for n in names)})


def _rewrite(words: Sequence[str], typing: str) -> None:
    """Put the recipe's selection in the place of ``run RECIPE``: the rest of the line is Hydra's grammar."""
    from kdrun.config.compose import staged
    from kdrun.config.paths import find_recipe

    try:
        with staged(find_recipe(words[2])) as first:
            line = " ".join([words[0], *first, *(w for w in words[3:] if "=" in w), typing])
    except InputError:
        return
    os.environ["COMP_LINE"] = line
    os.environ["COMP_POINT"] = str(len(line))


def _hydra(arguments: Sequence[str]) -> None:
    import hydra

    from kdrun.config.paths import conf_dir

    sys.argv = [sys.argv[0], "--shell-completion", *[a for a in arguments if "=" in a]]
    hydra.main(config_path=str(conf_dir()), config_name="config", version_base="1.3")(lambda config: None)()
