"""Slips at the top of a recipe: settings that nothing has or reads."""

from __future__ import annotations

import json
import re

from kdrun.config.experiment import Experiment
from kdrun.config.files import read
from kdrun.config.locate import locate
from kdrun.config.paths import RecipeFile, groups
from kdrun.errors import InputError, nearest
from kdrun.grammar.overlay import is_part

__all__ = ["refuse_unread"]

RECIPE_WORDS = (
    "defaults", "paper", "notes", "arms", "scales", "claims", "graph", "steps", "seed", "seeds", "looked_at", "skip", "results",
    "leaderboard", "transductive", "tune",
)  # fmt: skip
"""What a recipe may say at its top beside settings and sources."""

SILENT = ("claims", "paper", "notes")
"""Top-level keys whose content reads no setting."""


def refuse_unread(layered: Experiment, recipe: RecipeFile) -> None:
    """Raise ``InputError`` for a key at the recipe's top that no file beneath it has, no node is called and nothing names."""
    config, content = layered.config, read(recipe.path).content
    text = json.dumps([{k: v for k, v in c.items() if k not in SILENT} for c in (config, content)], default=str)
    below = _below(layered, recipe)
    for key, value in content.items():
        where = locate(key, ((recipe.path, ""),))
        known = key.partition(".")[0] in {*RECIPE_WORDS, *below, *(config.get("graph") or {})}
        if not known and not is_part(value) and not _mentioned(key, text):
            raise InputError(f"nothing reads '{key}'{nearest(key, [*RECIPE_WORDS, *below])}", key=key, where=where)


def _below(layered: Experiment, recipe: RecipeFile) -> set[str]:
    """The top-level keys of the files beneath the recipe."""
    found: set[str] = set()
    for path, package in layered.sources:
        if path != recipe.path:
            found |= {package.partition(".")[0]} if package else {str(k) for k in read(path).content}
    return found | set(groups())


def _mentioned(name: str, text: str) -> bool:
    """Whether some ``${...}`` or some ``like`` names a setting."""
    return re.search(rf"(\$\{{[^\"]*|\"like\": [^}}]*)\b{re.escape(name)}\b", text) is not None
