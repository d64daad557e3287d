"""Composing a recipe, an arm, a scale and the user's overrides into one experiment."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kdrun.config.locate import locate
from kdrun.config.paths import RecipeFile, conf_dir, find_recipe, group_options, groups, search_path
from kdrun.config.resolvers import harmless, register
from kdrun.errors import InputError, KdrunError, nearest

__all__ = ["Composer", "Experiment", "from_hydra", "overrides_for_hydra"]

COMMAND_LINE_ONLY = ("plugins", "store", "runs")
"""Keys that decide what code is imported and where files are written; a recipe may not set them."""


@dataclass(frozen=True)
class Experiment:
    """A composed and resolved configuration, and where its keys come from."""

    recipe: str
    config: dict[str, Any]
    sources: tuple[tuple[Path, str], ...] = ()
    overrides: tuple[str, ...] = ()
    arm: str | None = None

    def explain(self, error: KdrunError) -> KdrunError:
        """Add file and line to an error that names a config key."""
        if error.key and not error.where:
            error.where = locate(error.key, self.sources, self.overrides)
        return error


@contextlib.contextmanager
def _hydra(recipe: RecipeFile | None) -> Iterator[list[str]]:
    """Initialise Hydra's compose API; yields the overrides that every composition starts with."""
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    register()
    GlobalHydra.instance().clear()
    with staged(recipe) as first, initialize_config_dir(str(conf_dir()), version_base="1.3"):
        register()
        yield first


@contextlib.contextmanager
def staged(recipe: RecipeFile | None) -> Iterator[list[str]]:
    """Overrides that select ``recipe``; one from outside is staged in a temporary search folder."""
    if recipe is None:
        yield [f"hydra.searchpath=[{','.join(search_path())}]"]
        return
    inside = any(str(recipe.path).startswith(p.partition("://")[2]) for p in search_path())
    if inside:
        yield [f"hydra.searchpath=[{','.join(search_path())}]", f"recipes={recipe.name}"]
        return
    with tempfile.TemporaryDirectory(prefix="kdrun-recipe-") as folder:
        os.mkdir(f"{folder}/recipes")
        shutil.copyfile(recipe.path, f"{folder}/recipes/{recipe.name}.yaml")
        yield [f"hydra.searchpath=[file://{folder},{','.join(search_path())}]", f"recipes={recipe.name}"]


def overrides_for_hydra(first: Sequence[str], *layers: Sequence[str]) -> list[str]:
    """Join override layers; a key set by a later layer replaces an earlier one (Hydra refuses doubles).

    A whole node as a value (``graph.x={stage: ...}``) takes the place of the old one instead of being merged with it.
    """
    merged: dict[str, str] = {}
    for override in [o for layer in layers for o in layer]:
        name = override.lstrip("+~").split("=", 1)[0]
        merged.pop(name, None)
        merged[name] = override
    return [*first, *(piece for override in merged.values() for piece in _pieces(override))]


def _pieces(override: str) -> list[str]:
    key, _, value = override.partition("=")
    node = re.match(r"\{\s*(stage|op|call|foreach|model|data|optimizer)\s*:", value)
    if key[0] in "+~" or key.endswith(".from") or not node:
        return [override]
    return [f"~{key}", f"+{override}"]


@dataclass
class Composer:
    """Composes one recipe again and again: for its arms, scales and seeds.

    ``overrides`` are the user's; they come last.
    """

    recipe: RecipeFile
    overrides: Sequence[str] = ()
    _plans: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def named(cls, name: str, overrides: Sequence[str] = ()) -> Composer:
        return cls(find_recipe(name), tuple(overrides))

    def base(self) -> Experiment:
        """The recipe as it stands, with the user's overrides: no arm, no scale."""
        return self.compose()

    def compose(self, *, arm: str | None = None, scale: str | None = None, seed: int | None = None) -> Experiment:
        """Compose recipe, arm, scale, then the user's overrides.

        Raises ``InputError`` for an unknown arm, scale, group, option or key.
        """
        raw, applied = self._layered(arm, scale)
        return _experiment(raw, self.recipe, applied, arm, seed)

    def grid(
        self, arms: Sequence[str], seeds: Sequence[int], scale: str | None
    ) -> Iterator[tuple[int, dict[str, Experiment]]]:
        """Compose every arm once and set the seed in it: per seed, the experiments by arm."""
        raw = {arm: self._layered(arm, scale) for arm in arms}
        for seed in seeds:
            yield seed, {arm: _experiment(raw[arm][0], self.recipe, raw[arm][1], arm, seed) for arm in arms}

    def _layered(self, arm: str | None, scale: str | None) -> tuple[Any, list[str]]:
        own = self._own()
        layers: list[Sequence[str]] = []
        for kind, name in (("arm", arm), ("scale", scale)):
            options = own.get(f"{kind}s") or {}
            if name is not None and name not in options:
                raise InputError(
                    f"recipe '{self.recipe.name}' has no {kind} '{name}'{nearest(name, options)}; it has: {', '.join(options)}"
                )
            layers.append(_flat(options[name]) if name is not None else [])
        user = list(self.overrides)
        while True:
            try:
                return self._raw(*layers, user), [*layers[0], *layers[1], *user]
            except InputError as error:
                # An arm may replace the method whose knob the user turned: there the knob has no meaning.
                lost = [
                    o for o in user if arm is not None and error.key is not None and o.split("=", 1)[0] == error.key
                ]
                if not lost or not self._fits(lost[0]):
                    raise
                user.remove(lost[0])

    def _fits(self, override: str) -> bool:
        try:
            self._raw([override])
        except InputError:
            return False
        return True

    def _own(self) -> dict[str, Any]:
        """The recipe's arms and scales as they are written."""
        if not self._plans:
            from omegaconf import OmegaConf

            config = self._raw()
            kept = {k: config[k] for k in ("arms", "scales") if k in config}
            self._plans.update({k: OmegaConf.to_container(v, resolve=False) for k, v in kept.items()})
            self._plans.setdefault("arms", {})
        return self._plans

    def _raw(self, *layers: Sequence[str]) -> Any:
        from hydra import compose

        with _hydra(self.recipe) as first, hydra_errors(self.recipe):
            overrides = overrides_for_hydra(first, *layers)
            config = compose("config", overrides=overrides, return_hydra_config=True)
            _reject_code(config, layers)
            return config


def _flat(overrides: Any) -> list[str]:
    """Overrides with nested lists (what arms share, by a YAML anchor) joined into one."""
    return [o for item in overrides or [] for o in (_flat(item) if isinstance(item, list) else [item])]


def from_hydra(config: Any, recipe: str) -> Experiment:
    """The experiment behind a configuration that ``hydra.main`` composed."""
    return _experiment(config, find_recipe(recipe), list(config.hydra.overrides.task), None)


def _experiment(
    config: Any, recipe: RecipeFile, overrides: Sequence[str], arm: str | None, seed: int | None = None
) -> Experiment:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    choices = dict(config.hydra.runtime.choices)
    plain = {k: v for k, v in config.items_ex(resolve=False) if k != "hydra"}
    plain.update(_replaced(recipe, choices, overrides))
    try:
        container = OmegaConf.create(plain)
        OmegaConf.set_struct(container, False)
        if seed is not None:
            container.seed = seed
        with harmless():
            resolved = OmegaConf.to_container(container, resolve=True)
    except OmegaConfBaseException as error:
        raise InputError(str(error).split("\n", 1)[0], key=getattr(error, "full_key", None)) from None
    assert isinstance(resolved, dict)
    return Experiment(
        recipe=recipe.name,
        config={str(k): v for k, v in resolved.items()},
        sources=tuple(_sources(choices, recipe)),
        overrides=tuple(overrides),
        arm=arm,
    )


VALUE_GROUPS = ("teacher", "student", "data", "optimizer", "hardware", "tracker")
"""Groups whose options hold nothing but their own values."""


def _replaced(recipe: RecipeFile, choices: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Groups for which another option was chosen than the recipe's: what the recipe set in its own is gone."""
    import yaml
    from omegaconf import OmegaConf

    body = yaml.safe_load(recipe.path.read_text(encoding="utf-8")) or {}
    own = _own_options(body.get("defaults") or [])
    found = {}
    for group in VALUE_GROUPS:
        if not isinstance(body.get(group), dict) or choices.get(group) == own.get(group):
            continue
        options = group_options(group)
        files = [options[name] for name in _chain(options, str(choices.get(group)))]
        contents = [yaml.safe_load(f.read_text(encoding="utf-8")) or {} for f in files]
        value: Any = (
            OmegaConf.merge(*[{k: v for k, v in c.items() if k != "defaults"} for c in contents]) if contents else {}
        )
        found[group] = _overridden(OmegaConf.create(value), group, overrides)
    return found


def _own_options(defaults: Sequence[Any]) -> dict[str, str]:
    """The option of each group that a recipe's defaults list chooses, or the primary config's."""
    import yaml

    primary = yaml.safe_load((conf_dir() / "config.yaml").read_text(encoding="utf-8"))["defaults"]
    chosen: dict[str, str] = {}
    for entry in [*primary, *defaults]:
        for name, option in entry.items() if isinstance(entry, dict) else ():
            chosen[str(name).removeprefix("override").strip().lstrip("/")] = option
    return chosen


def _overridden(value: Any, group: str, overrides: Sequence[str]) -> Any:
    """Apply the overrides that reach into ``group``."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import OmegaConf

    parser = OverridesParser.create()
    for text in overrides:
        if not text.lstrip("+~").startswith(f"{group}."):
            continue
        override = parser.parse_override(text)
        key = override.key_or_group.partition(".")[2]
        if override.is_delete():
            value.pop(key, None)
            continue
        adds = override.is_add() or override.is_force_add()
        OmegaConf.set_struct(value, not adds)
        if not adds and not _holds(value, key):
            names = [str(name) for name in value]
            raise InputError(
                f"'{group}' has no key '{key}'{nearest(key, names)}; it has: {', '.join(names)}", key=f"{group}.{key}"
            )
        OmegaConf.update(value, key, override.value())
    return value


def _holds(value: Any, key: str) -> bool:
    from omegaconf import OmegaConf

    parent, _, leaf = key.rpartition(".")
    node = OmegaConf.select(value, parent) if parent else value
    return OmegaConf.is_dict(node) and leaf in node


def _sources(choices: dict[str, Any], recipe: RecipeFile) -> Iterator[tuple[Path, str]]:
    """Every file that took part, weakest first, with the package its content lands in."""
    yield conf_dir() / "config.yaml", ""
    for path in group_options("steps").values():
        yield path, "steps"
    for group, choice in choices.items():
        if group.startswith(("hydra/", "recipes")) or not isinstance(choice, str):
            continue
        options = group_options(group.split("@")[0])
        for name in _chain(options, choice):
            yield options[name], group.split("@")[-1].replace("/", ".")
    yield recipe.path, ""


def _chain(options: dict[str, Path], choice: str) -> list[str]:
    """An option and the options of its own group that its defaults list builds on, weakest first."""
    import yaml

    if choice not in options:
        return []
    content = yaml.safe_load(options[choice].read_text(encoding="utf-8")) or {}
    bases = [d for d in content.get("defaults", []) if isinstance(d, str) and d != "_self_"]
    return [name for base in bases for name in _chain(options, base)] + [choice]


def _reject_code(config: Any, layers: Sequence[Sequence[str]]) -> None:
    """A recipe may not touch Hydra's own node, nor the keys that only the command line sets."""
    user = [o for layer in layers for o in layer]
    for key in COMMAND_LINE_ONLY:
        given = any(o.lstrip("+").startswith(key + "=") for o in user)
        if not given and config.get(key) != _DEFAULTS[key]:
            raise InputError(f"only the command line may set '{key}': add {key}=... there if you mean it", key=key)
    hydra_overrides = [o for o in user if o.lstrip("+~").startswith(("hydra.", "hydra/", "launcher="))]
    clean = _hydra_alone(tuple(search_path()), tuple(hydra_overrides))
    for key in (
        "launcher",
        "sweeper",
        "callbacks",
        "job_logging",
        "hydra_logging",
        "run",
        "sweep",
        "help",
        "env",
        "mode",
    ):
        if config.hydra.get(key) != clean.get(key):
            raise InputError("a recipe may not change Hydra's own settings", key=f"hydra.{key}")


@functools.lru_cache(maxsize=8)
def _hydra_alone(search: tuple[str, ...], overrides: tuple[str, ...]) -> Any:
    """Hydra's own node as it is without any recipe; to be called where Hydra is initialised."""
    from hydra import compose

    first = f"hydra.searchpath=[{','.join(search)}]"
    return compose("config", overrides=[first, *overrides], return_hydra_config=True).hydra


_DEFAULTS: dict[str, Any] = {"plugins": [], "store": None, "runs": "runs"}


@contextlib.contextmanager
def hydra_errors(recipe: RecipeFile) -> Iterator[None]:
    """Turn Hydra's and OmegaConf's complaints into one clear line with the nearest known name."""
    import yaml
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        yield
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"{recipe.path.name}:{mark.line + 1}" if mark is not None else None
        raise InputError(f"not plain YAML: {getattr(error, 'problem', error)}", where=line) from None
    except (HydraException, OmegaConfBaseException) as error:
        unknown = re.search(r"Could not override '([^']+)'", str(error))
        raise InputError(_plain(error, recipe), key=unknown.group(1) if unknown else None) from None


def _plain(error: Exception, recipe: RecipeFile) -> str:
    text = str(error).strip()
    unread = getattr(error, "override", None)
    if isinstance(unread, str) and "Exception: " in text.split("\n", 1)[0]:
        return f"cannot read the override {unread!r}: a value with special characters stands in quotes, key='...'"
    missing = re.search(r"Could not (?:find|load) '?([\w@]+)/([\w/.-]+?)'?(?:$|\s|\.\s)", text)
    if missing:
        group, option = missing.group(1), missing.group(2)
        options = group_options(group)
        if not options:
            return f"there is no group '{group}'{nearest(group, groups())}"
        return f"{group} has no option '{option}'{nearest(option, options)}; it has: {', '.join(list(options)[:12])}"
    unknown = re.search(r"Could not override '([^']+)'", text)
    if unknown:
        name = unknown.group(1)
        parent, _, leaf = name.rpartition(".")
        known = _keys_at(recipe, parent)
        if leaf in known:
            return f"'{name}' has not all of these keys: write +{name}.KEY=... to add one"
        if parent:
            return (
                f"'{parent}' has no key '{leaf}'{nearest(leaf, known)}; "
                f"it has: {', '.join(known) or 'nothing'} (write +{name}=... to add one)"
            )
        return f"'{name}' is neither a group nor a key of recipe '{recipe.name}'{nearest(name, [*groups(), *known])}"
    return text.split("\n", 1)[0]


def _keys_at(recipe: RecipeFile, path: str) -> list[str]:
    """Keys of the composed recipe under a dotted path."""
    from omegaconf import OmegaConf

    config = _composed_alone(recipe)
    node = OmegaConf.select(config, path) if path else config
    return [str(k) for k in node] if OmegaConf.is_dict(node) else []


def _composed_alone(recipe: RecipeFile) -> Any:
    from hydra import compose
    from hydra.errors import HydraException

    try:
        with _hydra(recipe) as first:
            return compose("config", overrides=list(first))
    except HydraException:
        return {}
