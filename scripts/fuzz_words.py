"""Where a search begins and what it says: shipped recipes, the words of the grammar, and changes to trees of YAML (for ``fuzz_check.py``)."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml

from kdrun.config.paths import group_options, groups
from kdrun.config.unread import RECIPE_WORDS
from kdrun.grammar.nodes import VERBS
from kdrun.registry import KINDS, catalog

__all__ = ["Mutator", "dictionary", "seeds"]

HEAD = b"# @package _global_\n"

NODE_WORDS = (
    "from", "by", "like", "taps", "grad", "step", "nodes", "minimize", "train", "updates", "optimizer", "schedule", "groups", "epochs", "models",
    "carry", "do", "result", "before", "after", "every", "through", "average", "batch", "gradient", "alternate", "each", "metrics", "columns",
    "weights", "augment", "limit", "test", "says", "kind", "reported", "confidence", "objective", "maximize", "exploratory", "student", "teacher",
    "data.train", "data.test", "batch.image", "batch.label", "s.logits", "t.logits", "override /protocol", "override /transfer", "override /data",
)  # fmt: skip
PIECES = (
    "${epochs}",
    "${add:1,2}",
    "${seed}",
    "${transfer.weight}",
    "in every seed",
    "±",
    " ~ ",
    " > ",
    ": ",
    "- ",
    "{",
    "}",
    "[",
    "]",
    "null",
    "~",
)
ODD = (
    None, True, False, 0, 1, -1, 2**63, 10**30, 1e308, float("nan"), float("inf"), -0.0, "", " ", ".", "..", "a.b", "???", "\x1b[31m", "\u202e",
    "\u200b", "x" * 300, "${", "${x}", "${seed}", "${add:1,2}", "${transfer}", "${graph}", "null", "../x", "/", "a\nb", "${oc.env:HOME}",
    [], {}, [[]], [{}], {"": {}}, {"a": None}, {1: 2}, ["a", 1, None], {"like": "like"}, {"like": []}, {"foreach": {"i": 3}, "do": {}},
)  # fmt: skip
"""Values that a place for another one rarely foresees."""


def seeds(root: Path) -> dict[str, bytes]:
    """The shipped recipes and the template's, by a name for each."""
    files = sorted([*(root / "recipes").rglob("*.yaml"), *(root / "templates").rglob("recipes/*.yaml")])
    return {"-".join(file.relative_to(root).parts): _shortened(file.read_bytes()) for file in files}


def _shortened(content: bytes) -> bytes:
    """A recipe with its first arms alone, and the claims on these: an answer takes as long as there are arms."""
    tree = yaml.safe_load(content)
    arms = tree.get("arms") or {}
    kept = list(arms)[:3]
    left_out = re.compile(rf"\b({'|'.join(map(re.escape, list(arms)[3:]))})\b") if len(arms) > 3 else None
    if left_out is None:
        return content
    tree["arms"] = {name: arms[name] for name in kept}
    tree["claims"] = {n: c for n, c in (tree.get("claims") or {}).items() if not left_out.search(str(c))}
    tree.pop("leaderboard", None)
    return HEAD + yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=140).encode()


def words() -> list[str]:
    """What a file may say at some place: words of the grammar, names of groups, options and parts."""
    options = [name for group in groups() for name in group_options(group)]
    parts = [name for kind in KINDS for name in catalog().names(kind)]
    return list(dict.fromkeys([*RECIPE_WORDS, *VERBS, *KINDS, *NODE_WORDS, *groups(), *options, *parts]))


def dictionary() -> str:
    """The words in the form that libFuzzer reads."""

    def escaped(text: str) -> str:
        return "".join(chr(b) if 32 <= b < 127 and chr(b) not in '"\\' else f"\\x{b:02x}" for b in text.encode())

    return "".join(f'"{escaped(word)}"\n' for word in [*words(), *PIECES])


class Mutator:
    """Changes a file as text or, half of the time, as the tree that it is."""

    def __init__(self, files: Iterable[bytes], as_text: Callable[[bytes, int], bytes]) -> None:
        self.as_text = as_text
        self.words = words()
        self.pool = [part for file in files for part in _parts(yaml.safe_load(file))]

    def __call__(self, content: bytes, most: int, seed: int) -> bytes:
        chance = random.Random(seed)
        if chance.random() < 0.5:
            return self.as_text(content, most)
        try:
            tree = yaml.load(content, Loader=yaml.CSafeLoader)
            for _ in range(chance.choice((1, 1, 1, 2, 4))):
                tree = self.changed(tree, chance)
            found = yaml.dump(tree, Dumper=yaml.CSafeDumper, allow_unicode=True, sort_keys=False, width=200).encode()
        except Exception:  # no tree: changed as text
            return self.as_text(content, most)
        return (HEAD + found)[:most]

    def changed(self, tree: Any, chance: random.Random) -> Any:
        """The tree with one change somewhere in it; the way down is by chance."""
        inner = (
            list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree)) if isinstance(tree, list) else []
        )
        if not inner or chance.random() < 0.15:
            return self.instead(tree, chance)
        name, value = chance.choice(inner)
        if chance.random() < 0.75:
            tree[name] = self.changed(value, chance)
        elif isinstance(tree, dict):
            self.change_entry(tree, name, chance)
        else:
            tree.insert(name, self.other(chance))
        return tree

    def change_entry(self, tree: dict[Any, Any], name: Any, chance: random.Random) -> None:
        way = chance.randrange(4)
        if way == 0:
            del tree[name]
        elif way == 1:
            tree[chance.choice(self.words)] = self.other(chance)
        elif way == 2:
            tree[chance.choice(self.words)] = tree.pop(name)
        else:
            tree[f"{name}.{chance.choice(self.words)}"] = tree.pop(name)

    def instead(self, tree: Any, chance: random.Random) -> Any:
        way = chance.randrange(4)
        if way == 0:
            return [tree]
        if way == 1:
            return {chance.choice(self.words): tree}
        return self.other(chance)

    def other(self, chance: random.Random) -> Any:
        kind = chance.randrange(3)
        return chance.choice((self.pool, self.words, ODD)[kind])  # type: ignore[arg-type]


def _parts(tree: Any) -> list[Any]:
    """A tree and all that is in it."""
    inner = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    return [tree, *(part for one in inner for part in _parts(one))]
