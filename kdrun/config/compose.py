"""Composing an experiment: files that Hydra's defaults lists name, then the layers over them.

protocol < method < recipe < scale < arm < the scale's words for that arm < the user. Choosing an option of a group takes the
place of all that weaker layers said in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kdrun.config.experiment import Experiment
from kdrun.config.files import read
from kdrun.config.layers import COMMAND_LINE, Override, apply, parse_text, records
from kdrun.config.library import Library
from kdrun.config.locate import locate
from kdrun.config.messages import no_option
from kdrun.config.paths import RecipeFile, conf_dir, find_recipe, group_options, groups
from kdrun.config.resolvers import resolved
from kdrun.errors import InputError, KdrunError, nearest
from kdrun.grammar.like import expand, without
from kdrun.grammar.measurements import in_table
from kdrun.grammar.objective import parse_objective
from kdrun.grammar.overlay import copied, is_part, overlay

__all__ = ["Composer"]

COMMAND_LINE_ONLY = ("plugins", "store", "runs")
"""Keys that decide what code is imported and where files are written; a recipe may not set them."""

VALUE_GROUPS = ("teacher", "student", "data", "optimizer", "hardware", "tracker", "transfer")
"""Groups whose options hold values under their own name: another option leaves none of them."""

RECIPE_WORDS = (
    "defaults", "paper", "notes", "arms", "scales", "claims", "graph", "steps", "seed", "seeds", "skip", "results", "leaderboard",
)  # fmt: skip
"""What a recipe may say at its top beside settings and sources."""

TEXT = ("arms", "scales", "claims", "paper", "notes")
"""Top-level keys whose content is not interpolated."""


@dataclass
class Composer:
    """Composes one recipe again and again: for its arms, scales and seeds. ``overrides`` are the user's; they come last.

    ``every_arm``: a setting that only some arms have is left out in the others, and remembered in ``left_out``.
    """

    recipe: RecipeFile
    overrides: Sequence[Override] = ()
    every_arm: bool = False
    left_out: dict[str, list[str]] = field(default_factory=dict)
    _library: Library | None = None
    _bases: dict[Any, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def named(cls, name: str, overrides: Sequence[str | Override] = ()) -> Composer:
        texts = [o for o in overrides if isinstance(o, str)]
        return cls(find_recipe(name), (*(o for o in overrides if isinstance(o, Override)), *parse_text(texts)))

    @property
    def library(self) -> Library:
        if self._library is None:
            self._library = Library(self.recipe)
        return self._library

    def base(self) -> Experiment:
        """The recipe as it stands, with the user's overrides: no arm, no scale."""
        return self.compose()

    def compose(self, *, arm: str | None = None, scale: str | None = None, seed: int | None = None) -> Experiment:
        """Compose the files, then scale, arm and the user's overrides over them.

        Raises ``InputError`` for an unknown arm, scale, group, option or key.
        """
        return self._resolved(self.layered(arm, scale), seed)

    def grid(
        self, arms: Sequence[str], seeds: Sequence[int], scale: str | None
    ) -> Iterator[tuple[int, dict[str, Experiment]]]:
        """Compose every arm once and set the seed in it: per seed, the experiments by arm."""
        layered = {arm: self.layered(arm, scale) for arm in arms}
        drawn = {arm: mentions_seed({k: v for k, v in layered[arm].config.items() if k not in TEXT}) for arm in arms}
        first = {arm: self._resolved(layered[arm], seeds[0]) for arm in arms}
        for seed in seeds:
            yield (
                seed,
                {arm: self._resolved(layered[arm], seed) if drawn[arm] else first[arm].at(seed) for arm in arms},
            )

    def layered(self, arm: str | None, scale: str | None) -> Experiment:
        """The experiment before values are interpolated."""
        words = self._words(arm, scale)
        user = [o for o in self.overrides if not (o.within("arms") or o.within("scales"))]
        while True:
            try:
                found = self._composed([*words, *user], arm, scale)
                found.config.update(self._own())
                return found
            except InputError as error:
                # An arm may replace the method whose setting the user turned: there it has no meaning.
                lost = [o for o in user if self.every_arm and arm is not None and error.key in (o.path, o.key)]
                if not lost or not self._fits(lost[0]):
                    raise
                user.remove(lost[0])
                self.left_out.setdefault(lost[0].key, []).append(str(arm))

    def _fits(self, override: Override) -> bool:
        try:
            self._composed([override], None, None)
        except InputError:
            return False
        return True

    def _words(self, arm: str | None, scale: str | None) -> list[Override]:
        """What the recipe says for an arm and a scale, weakest first."""
        own = self._own()
        arms, scales = own.get("arms") or {}, own.get("scales") or {}
        found: list[Override] = []
        for_arms: Mapping[str, Any] = {}
        if scale is not None and (scale in scales or scale != "small"):
            content = dict(self._named("scale", scale, scales))
            for_arms = content.pop("arms", None) or {}
            if not isinstance(for_arms, Mapping):
                raise InputError(
                    "arms inside a scale are a mapping from arms to what each changes", key=f"scales.{scale}.arms"
                )
            found += records(content, f"scale {scale}", f"scales.{scale}")
        chain = self._chain(arm, arms, ()) if arm is not None else []
        for name in chain:
            content = {k: v for k, v in (arms[name] or {}).items() if k != "like"}
            found += records(content, f"arm {name}", f"arms.{name}")
        for name in for_arms:
            self._named("arm", name, arms)
        for name in chain:
            if for_arms.get(name):
                found += records(for_arms[name], f"scale {scale}", f"scales.{scale}.arms.{name}")
        return found

    def _named(self, kind: str, name: str, options: Mapping[str, Any]) -> Mapping[str, Any]:
        if name not in options:
            raise InputError(
                f"recipe '{self.recipe.name}' has no {kind} '{name}'{nearest(name, options)}; "
                f"it has: {', '.join(options) or 'none'}",
                key=f"{kind}s",
            )
        content = options[name]
        if content is not None and not isinstance(content, Mapping):
            raise InputError(f"{kind} '{name}' is a mapping of what it changes", key=f"{kind}s.{name}")
        return content or {}

    def _chain(self, arm: str, arms: Mapping[str, Any], seen: tuple[str, ...]) -> list[str]:
        """The arms that an arm is like, and itself last."""
        if arm in seen:
            raise InputError(f"these are like each other: {' -> '.join([*seen, arm])}", key=f"arms.{arm}.like")
        like = self._named("arm", arm, arms).get("like") or []
        names = [like] if isinstance(like, str) else like
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise InputError(f"like names an arm or lists some, got {like!r}", key=f"arms.{arm}.like")
        return list(dict.fromkeys([n for name in names for n in self._chain(name, arms, (*seen, arm))] + [arm]))

    def _own(self) -> dict[str, Any]:
        """The recipe's arms and scales as they are written, with what the user changes in them."""
        config = copied({k: v for k, v in self._base({}, {}, frozenset()).items() if k in ("arms", "scales")})
        for override in self.overrides:
            if override.within("arms") or override.within("scales"):
                apply(config, override)
        for kind, options in config.items():
            if not isinstance(options or {}, dict) or not all(isinstance(name, str) for name in options or {}):
                raise InputError(f"{kind} are a mapping from names to what each changes", key=kind)
            config[kind] = {name: content for name, content in (options or {}).items() if content is not None}
        return config  # type: ignore[no-any-return]

    def _composed(self, rows: Sequence[Override], arm: str | None, scale: str | None) -> Experiment:
        known, own = set(groups()), self._own_options()
        chosen: dict[str, tuple[str | None, int]] = {}
        added: dict[str, str] = {}
        for place, row in enumerate(rows):
            if row.path in known and (isinstance(row.value, str) or row.value is None):
                if row.path not in own and row.path != "launcher" and row.value is not None:
                    added[row.path] = row.value
                else:
                    chosen[row.path] = (row.value, place)
        choices = self._full({g: option for g, (option, _) in chosen.items() if g != "launcher"}, own)
        dropped = frozenset(g for g in choices if g in VALUE_GROUPS and choices[g] != own.get(g))
        config = copied(self._base(choices, added, dropped))
        for place, row in enumerate(rows):
            if row.path in known and (isinstance(row.value, str) or row.value is None):
                continue
            if row.first in dropped and place < chosen[row.first][1]:
                continue
            if row.layer != COMMAND_LINE and row.first == "hydra":
                raise InputError("Hydra's own settings come from the command line alone", key=row.key)
            if row.layer != COMMAND_LINE and row.first in COMMAND_LINE_ONLY:
                raise InputError(f"only the command line may set '{row.first}'", key=row.key)
            if row.first != "hydra":
                self._apply(config, row)
        sources = tuple((f.path, package) for f, package in self.library.files(choices, added))
        return Experiment(self.recipe.name, config, sources, tuple(rows), arm, scale, {**own, **choices}, choices)

    def _refuse_unread(self, layered: Experiment) -> None:
        """A setting at the recipe's top that nothing else has or reads is a slip of the pen."""
        config = layered.config
        silent = ("claims", "paper", "notes")
        content = read(self.recipe.path).content
        text = json.dumps([{k: v for k, v in c.items() if k not in silent} for c in (config, content)], default=str)
        below = self._below(layered)
        for key, value in content.items():
            where = locate(str(key), ((self.recipe.path, ""),))
            if not isinstance(key, str):
                raise InputError(f"{key!r} is no name (YAML reads yes, no, on and off as true and false)", where=where)
            first = key.partition(".")[0]
            if (
                first not in {*RECIPE_WORDS, *below, *(config.get("graph") or {})}
                and not is_part(value)
                and not _mentioned(key, text)
            ):
                raise InputError(f"nothing reads '{key}'{nearest(key, [*RECIPE_WORDS, *below])}", key=key, where=where)

    def _below(self, layered: Experiment) -> set[str]:
        """The top-level keys of the files beneath the recipe."""
        found: set[str] = set()
        for path, package in layered.sources:
            if path != self.recipe.path:
                found |= {package.partition(".")[0]} if package else {str(k) for k in read(path).content}
        return found | set(groups())

    def _apply(self, config: dict[str, Any], row: Override) -> None:
        try:
            apply(config, row)
        except InputError as error:
            if row.layer == COMMAND_LINE:
                error.key = error.key or row.path
            else:
                error.key = row.key
                error.where = locate(row.key, ((self.recipe.path, ""),))
            raise

    def _full(self, choices: dict[str, str | None], own: Mapping[str, str | None]) -> dict[str, str | None]:
        """A method may be named without its protocol."""
        method, protocol = choices.get("transfer"), choices.get("protocol", own.get("protocol"))
        if method is not None:
            options = group_options("transfer")
            if method not in options:
                if f"{protocol}/{method}" not in options:
                    raise InputError(no_option("transfer", f"{protocol}/{method}"), key="transfer")
                return {**choices, "transfer": f"{protocol}/{method}"}
            problems = _problems(protocol)
            if problems and method.partition("/")[0] not in problems:
                raise InputError(
                    f"'{method}' is a method of another protocol than '{protocol}'; kdrun list methods {protocol} shows its own",
                    key="transfer",
                )
        return choices

    def _base(
        self, choices: Mapping[str, str | None], added: Mapping[str, str], dropped: frozenset[str]
    ) -> dict[str, Any]:
        """The files merged, once for all arms and seeds that make the same choices."""
        label = (tuple(choices.items()), tuple(added.items()))
        if label not in self._bases:
            self._bases[label] = self._merged(choices, added, dropped)
        return self._bases[label]

    def _merged(
        self, choices: Mapping[str, str | None], added: Mapping[str, str], dropped: frozenset[str]
    ) -> dict[str, Any]:
        config: dict[str, Any] = {}
        for file, package in self.library.files(choices, added):
            own = ("defaults", "hydra") if package else ("defaults", "hydra", "skip")
            content = {k: v for k, v in file.content.items() if k not in own}
            if file.path != conf_dir() / "config.yaml":
                _refuse_own_keys(content, file.path)
            if file.path == self.recipe.path:
                content = {k: v for k, v in content.items() if k not in dropped or not isinstance(v, Mapping)}
            target = config
            for piece in filter(None, package.split(".")):
                target = target.setdefault(piece, {})
            overlay(target, content)
            if not package and file.content.get("skip"):
                if not isinstance(file.content["skip"], list):
                    raise InputError("skip lists nodes: skip: [name, ...]", key="skip", where=str(file.path))
                config["skip"] = [*config.get("skip", []), *file.content["skip"]]
        return config

    def _own_options(self) -> dict[str, str | None]:
        """The option of each group that the recipe's defaults list chooses, or the primary config's."""
        primary = read(conf_dir() / "config.yaml").content["defaults"]
        chosen: dict[str, str | None] = {}
        for entry in [*primary, *(read(self.recipe.path).content.get("defaults") or [])]:
            for name, option in entry.items() if isinstance(entry, dict) else ():
                chosen[str(name).removeprefix("override").strip().lstrip("/")] = option
        return chosen

    def _resolved(self, layered: Experiment, seed: int | None) -> Experiment:
        raw = dict(layered.config)
        self._refuse_unread(layered)
        if seed is not None:
            raw["seed"] = seed
        text = {k: raw.pop(k) for k in TEXT if k in raw}
        skipped = raw.pop("skip", [])
        raw = expand(raw)
        raw["graph"] = without(raw.get("graph") or {}, skipped)
        try:
            config = resolved(raw)
            config["objective"] = _left(config.get("objective"), skipped)
        except KdrunError as error:
            raise layered.explain(error) from None
        return replace(layered, config={**config, **text})


def _left(objective: Any, skipped: Sequence[str]) -> Any:
    """The objective, unless the node that measures it is left out."""
    stated = parse_objective(objective)
    return None if stated is not None and any(in_table(stated.metric, name) for name in skipped) else objective


def _mentioned(name: str, text: str) -> bool:
    """Whether some ``${...}`` or some ``like`` names a setting."""
    return re.search(rf"(\$\{{[^\"]*|\"like\": [^}}]*)\b{re.escape(name)}\b", text) is not None


def _problems(protocol: str | None) -> list[str]:
    """The protocol and those that it builds on, whose methods are its methods."""
    options = group_options("protocol")
    found: list[str] = []
    todo = [protocol] if protocol in options else []
    while todo:
        name = str(todo.pop())
        found.append(name)
        todo += [d for d in read(options[name]).content.get("defaults") or [] if isinstance(d, str) and d in options]
    return found


def _refuse_own_keys(content: Mapping[str, Any], path: Path) -> None:
    for key in COMMAND_LINE_ONLY:
        if key in content:
            raise InputError(f"only the command line may set '{key}': add {key}=... there if you mean it", key=key)


def mentions_seed(content: Any) -> bool:
    """Whether some value is computed from the run's seed."""
    if isinstance(content, Mapping):
        return any(mentions_seed(v) for v in content.values())
    if isinstance(content, list):
        return any(mentions_seed(v) for v in content)
    return isinstance(content, str) and re.search(r"\$\{[^}]*\bseed\b", content) is not None
