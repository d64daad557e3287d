"""Composing an experiment: files that Hydra's defaults lists name, then the layers over them.

protocol < method < recipe < scale < arm < the scale's words for that arm < the user. Choosing an option of a group takes the
place of all that weaker layers said in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kdrun.config.experiment import Experiment
from kdrun.config.files import short
from kdrun.config.guard import OF_HYDRA, expand_home, guard
from kdrun.config.layers import COMMAND_LINE, Override, apply, parse_text, records
from kdrun.config.locate import locate
from kdrun.config.options import Options
from kdrun.config.paths import RecipeFile, find_recipe, groups
from kdrun.config.resolvers import resolved
from kdrun.config.unread import refuse_unread
from kdrun.errors import InputError, KdrunError, nearest
from kdrun.grammar.like import expand, without
from kdrun.grammar.measurements import in_table
from kdrun.grammar.objective import parse_objective
from kdrun.grammar.overlay import copied

__all__ = ["Composer"]

VALUE_GROUPS = ("teacher", "student", "data", "optimizer", "hardware", "tracker", "transfer")
"""Groups whose options hold values under their own name: another option leaves none of them."""

TEXT = ("arms", "scales", "claims", "paper", "notes")
"""Top-level keys whose content is not interpolated."""

OF_ARMS = ("like", "exploratory")
"""What an arm says of itself, beside what it changes."""


@dataclass
class Composer:
    """Composes one recipe again and again: for its arms, scales and seeds. ``overrides`` are the user's; they come last.

    ``every_arm``: a setting that only some arms have is left out in the others, and remembered in ``left_out``. ``tuned``: by arm, what
    tuning has chosen; it lies over the arm's words.
    """

    recipe: RecipeFile
    overrides: Sequence[Override] = ()
    every_arm: bool = False
    left_out: dict[str, list[str]] = field(default_factory=dict)
    tuned: Mapping[str, Override] = field(default_factory=dict)
    _options: Options | None = None

    @classmethod
    def named(cls, name: str, overrides: Sequence[str | Override] = ()) -> Composer:
        texts = [o for o in overrides if isinstance(o, str)]
        return cls(find_recipe(name), (*(o for o in overrides if isinstance(o, Override)), *parse_text(texts)))

    @property
    def options(self) -> Options:
        """The options of groups that the recipe may choose from, and their files."""
        if self._options is None:
            self._options = Options(self.recipe)
        return self._options

    def judged_as_written(self, base: Experiment) -> bool:
        """Whether arms and claims are those of the recipe: neither the user nor a scale adds or takes away one."""
        rows = [*self.overrides, *base.overrides]
        return not any(row.within(name) for row in rows for name in ("arms", "claims"))

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
        words = [*self.words(arm, scale), *([self.tuned[arm]] if arm is not None and arm in self.tuned else [])]
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

    def words(self, arm: str | None, scale: str | None) -> list[Override]:
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
        chain = self._chain(arm, arms) if arm is not None else []
        for name in chain:
            content = {k: v for k, v in (arms[name] or {}).items() if k not in OF_ARMS}
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

    def _chain(self, arm: str, arms: Mapping[str, Any]) -> list[str]:
        """The arms that an arm is like, each once and after those that it is like itself, and the arm last."""
        found: dict[str, None] = {}
        way: list[tuple[str, Iterator[str]]] = [(arm, iter(self._likes(arm, arms)))]
        while way:
            name = next(way[-1][1], None)
            if name is None:
                found[way.pop()[0]] = None
            elif any(name == open_ for open_, _ in way):
                circle = [open_ for open_, _ in way]
                raise InputError(
                    f"these are like each other: {' -> '.join([*circle[circle.index(name) :], name])}",
                    key=f"arms.{arm}.like",
                )
            elif name not in found:
                way.append((name, iter(self._likes(name, arms))))
        return list(found)

    def _likes(self, arm: str, arms: Mapping[str, Any]) -> list[str]:
        """The arms that an arm says it is like."""
        like = self._named("arm", arm, arms).get("like") or []
        names = [like] if isinstance(like, str) else like
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise InputError(f"like names an arm or lists some, got {like!r}", key=f"arms.{arm}.like")
        return names

    def _own(self) -> dict[str, Any]:
        """The recipe's arms and scales as they are written, with what the user changes in them."""
        config = copied({k: v for k, v in self.options.merged({}, {}, frozenset()).items() if k in ("arms", "scales")})
        for kind, options in config.items():
            empty = [name for name, content in options.items() if content is None] if isinstance(options, dict) else []
            if empty:
                raise InputError(
                    "a mapping of what it changes is expected: {} for nothing",
                    key=f"{kind}.{empty[0]}",
                    where=short(self.recipe.path),
                )
        for override in self.overrides:
            if override.within("arms") or override.within("scales"):
                apply(config, override)
        for kind, options in config.items():
            if not isinstance(options or {}, dict) or not all(isinstance(name, str) for name in options or {}):
                raise InputError(f"{kind} are a mapping from names to what each changes", key=kind)
            config[kind] = {name: content for name, content in (options or {}).items() if content is not None}
        return config  # type: ignore[no-any-return]

    def _composed(self, rows: Sequence[Override], arm: str | None, scale: str | None) -> Experiment:
        known, own = set(groups()), self.options.own
        chosen: dict[str, tuple[str | None, int]] = {}
        added: dict[str, tuple[str, ...]] = {}
        for place, row in enumerate(rows):
            several = _options(row.value) if row.path in known and row.path not in (*own, *OF_HYDRA) else None
            if several:
                added[row.path] = tuple(dict.fromkeys([*added.get(row.path, ()), *several]))
            elif row.path in known and (isinstance(row.value, str) or row.value is None):
                chosen[row.path] = (row.value, place)
        choices = self.options.completed({g: option for g, (option, _) in chosen.items() if g not in OF_HYDRA})
        dropped = frozenset(g for g in choices if g in VALUE_GROUPS and choices[g] != own.get(g))
        config = copied(self.options.merged(choices, added, dropped))
        for place, row in enumerate(rows):
            if row.path in added or (row.path in known and (isinstance(row.value, str) or row.value is None)):
                continue
            if row.first in dropped and place < chosen[row.first][1] and not row.beside(rows[chosen[row.first][1]]):
                continue
            if row.first != "hydra":
                self._apply(config, row)
        expand_home(config)
        sources = self.options.sources(choices, added)
        return Experiment(self.recipe.name, config, sources, tuple(rows), arm, scale, {**own, **choices}, choices)

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

    def _resolved(self, layered: Experiment, seed: int | None) -> Experiment:
        from kdrun.config.schema import check_shape, check_values  # pydantic: not for those who only list

        raw = dict(layered.config)
        if seed is not None:
            raw["seed"] = seed
        try:
            check_shape(raw)
        except InputError as error:
            raise layered.explain(error) from None
        refuse_unread(layered, self.recipe)
        text = {k: raw.pop(k) for k in TEXT if k in raw}
        skipped = raw.pop("skip", None) or []
        raw = expand(raw)
        raw["graph"] = without(raw.get("graph") or {}, skipped)
        try:
            config = resolved(raw)
            check_values(config)
            config["objective"] = _left(config.get("objective"), skipped)
        except KdrunError as error:
            raise layered.explain(error) from None
        config.update(text)
        guard(layered, config)
        return replace(layered, config=config)


def _options(value: Any) -> list[str] | None:
    """The options of a group that a value names, one or a list of them; None for another value."""
    names = value if isinstance(value, list) else [value]
    return names if names and all(isinstance(name, str) for name in names) else None


def _left(objective: Any, skipped: Sequence[str]) -> Any:
    """The objective, unless the node that measures it is left out."""
    stated = parse_objective(objective)
    return None if stated is not None and any(in_table(stated.metric, name) for name in skipped) else objective


def mentions_seed(content: Any) -> bool:
    """Whether some value is computed from the run's seed."""
    if isinstance(content, Mapping):
        return any(mentions_seed(v) for v in content.values())
    if isinstance(content, list):
        return any(mentions_seed(v) for v in content)
    return isinstance(content, str) and re.search(r"\$\{[^}]*\bseed\b", content) is not None
