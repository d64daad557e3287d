"""Tab completion: Hydra's own, for overrides after a recipe; commands, recipes and what can be explained before it."""

from __future__ import annotations

import os
from collections.abc import Sequence

from kdrun.commands.output import say
from kdrun.commands.table import COMMANDS, GC_FLAGS, TOPICS, WITH_RECIPE
from kdrun.errors import InputError, KdrunError, nearest

__all__ = ["main"]

SHELLS = ("bash", "zsh", "fish")


def main(arguments: Sequence[str]) -> int:
    """Answer ``-sc install=bash``, ``-sc uninstall=bash`` and ``-sc query=bash`` (the line is in ``COMP_LINE``)."""
    line = os.environ.get("COMP_LINE", "")
    recipe = "kd"
    if "query" in " ".join(arguments):
        words = line.split()
        typing = "" if line.endswith(" ") else words.pop() if words else ""
        if len(words) <= 1 or words[1] not in WITH_RECIPE or len(words) == 2:
            say("\n".join(word for word in _words(words) if word.startswith(typing)))
            return 0
        recipe = words[2]
        rest = " ".join([words[0], *(w for w in words[3:] if "=" in w), typing])
        os.environ.update({"COMP_LINE": rest, "COMP_POINT": str(len(rest))})
    for shell in (a.partition("=")[2] for a in arguments if "=" in a):
        if shell not in SHELLS:
            raise InputError(
                f"there is no completion for '{shell}'{nearest(shell, SHELLS)}; there is for {', '.join(SHELLS)}"
            )
    from kdrun.config.hydra_app import app
    from kdrun.config.paths import find_recipe

    try:
        app(find_recipe(recipe), ["--shell-completion", *[a for a in arguments if "=" in a]], lambda config: None)
    except KdrunError:
        return 1  # a line that cannot be composed has no continuation
    return 0


def _words(words: Sequence[str]) -> list[str]:
    """What may stand next: a command, a recipe, or a kind and its names."""
    if len(words) <= 1:
        return list(COMMANDS)
    if words[1] in WITH_RECIPE or (words[1] == "gc" and words[-1] == "--recipe"):
        from kdrun.config.paths import recipe_files

        names = [r.name for r in recipe_files()]
        return sorted({*names, *(n.rpartition("/")[2] for n in names)})
    if words[1] == "gc":
        return [flag for flag in GC_FLAGS if flag not in words]
    if words[1] == "explain" and len(words) <= 3:
        from kdrun.commands.explain_ import names_of, subjects
        from kdrun.registry import catalog

        return subjects(catalog()) if len(words) == 2 else names_of(words[2], catalog())
    return list(TOPICS) if words[1] == "list" and len(words) == 2 else []
