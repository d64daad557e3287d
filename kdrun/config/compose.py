"""Composing a recipe, an arm, a scale and the user's overrides into one experiment."""

from __future__ import annotations

import contextlib
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
from kdrun.config.resolvers import register
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
    inside = any(str(recipe.path).startswith(p.removeprefix("file://")) for p in search_path())
    if inside:
        yield [f"hydra.searchpath=[{','.join(search_path())}]", f"recipes={recipe.name}"]
        return
    with tempfile.TemporaryDirectory(prefix="kdrun-recipe-") as folder:
        os.mkdir(f"{folder}/recipes")
        shutil.copyfile(recipe.path, f"{folder}/recipes/{recipe.name}.yaml")
        yield [f"hydra.searchpath=[file://{folder},{','.join(search_path())}]", f"recipes={recipe.name}"]


def overrides_for_hydra(first: Sequence[str], *layers: Sequence[str]) -> list[str]:
    """Join override layers; a key set by a later layer replaces an earlier one (Hydra refuses doubles)."""
    merged: dict[str, str] = {}
    for override in [o for layer in layers for o in layer]:
        name = override.lstrip("+~").split("=", 1)[0]
        merged.pop(name, None)
        merged[name] = override
    return [*first, *merged.values()]


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
        plan = self._composed(None, None)
        layers = [plan.get("arms", {}).get(arm, []) if arm else [], plan.get("scales", {}).get(scale, []) if scale else []]
        for kind, name, known in (("arm", arm, "arms"), ("scale", scale, "scales")):
            if name is not None and name not in (plan.get(known) or {}):
                options = plan.get(known) or {}
                raise InputError(
                    f"recipe '{self.recipe.name}' has no {kind} '{name}'{nearest(name, options)}; it has: {', '.join(options)}"
                )
        seeding = [] if seed is None else [f"seed={seed}"]
        applied = [*layers[0], *layers[1], *self.overrides, *seeding]
        config = self._raw(layers[0], layers[1], self.overrides, seeding)
        return _experiment(config, self.recipe, applied, arm)

    def _composed(self, arm: str | None, scale: str | None) -> dict[str, Any]:
        if "base" not in self._plans:
            from omegaconf import OmegaConf

            config = self._raw()
            kept = {k: config[k] for k in ("arms", "scales") if k in config}
            self._plans["base"] = {k: OmegaConf.to_container(v, resolve=False) for k, v in kept.items()}
        return self._plans["base"]

    def _raw(self, *layers: Sequence[str]) -> Any:
        from hydra import compose

        with _hydra(self.recipe) as first, hydra_errors(self.recipe):
            overrides = overrides_for_hydra(first, *layers)
            config = compose("config", overrides=overrides, return_hydra_config=True)
            _reject_code(config, layers)
            return config


def from_hydra(config: Any, recipe: str) -> Experiment:
    """The experiment behind a configuration that ``hydra.main`` composed."""
    return _experiment(config, find_recipe(recipe), list(config.hydra.overrides.task), None)


def _experiment(config: Any, recipe: RecipeFile, overrides: Sequence[str], arm: str | None) -> Experiment:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    choices = dict(config.hydra.runtime.choices)
    plain = {k: v for k, v in config.items_ex(resolve=False) if k != "hydra"}
    try:
        container = OmegaConf.create(plain)
        OmegaConf.set_struct(container, False)
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
    from hydra import compose

    user = [o for layer in layers for o in layer]
    for key in COMMAND_LINE_ONLY:
        given = any(o.lstrip("+").startswith(key + "=") for o in user)
        if not given and config.get(key) != _DEFAULTS[key]:
            raise InputError(f"only the command line may set '{key}': add {key}=... there if you mean it", key=key)
    hydra_overrides = [o for o in user if o.lstrip("+~").startswith(("hydra.", "hydra/", "launcher="))]
    search = f"hydra.searchpath=[{','.join(search_path())}]"
    clean = compose("config", overrides=[search, *hydra_overrides], return_hydra_config=True)
    for key in ("launcher", "sweeper", "callbacks", "job_logging", "hydra_logging", "run", "sweep", "help", "env", "mode"):
        if config.hydra.get(key) != clean.hydra.get(key):
            raise InputError("a recipe may not change Hydra's own settings", key=f"hydra.{key}")


_DEFAULTS: dict[str, Any] = {"plugins": [], "store": None, "runs": "runs"}


@contextlib.contextmanager
def hydra_errors(recipe: RecipeFile) -> Iterator[None]:
    """Turn Hydra's and OmegaConf's complaints into one clear line with the nearest known name."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(_plain(error, recipe)) from None


def _plain(error: Exception, recipe: RecipeFile) -> str:
    text = str(error).strip()
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
        where = "" if "." in name else nearest(name, [*groups(), "epochs", "batch_size", "seed", "transfer", "store"])
        if "." in name:
            parent, _, leaf = name.rpartition(".")
            return f"'{name}' is not a key of this configuration: '{parent}' has no '{leaf}' (write +{name}=... to add it)"
        return f"'{name}' is neither a group nor a key of recipe '{recipe.name}'{where}"
    return text.split("\n", 1)[0]
