"""Hydra's loader over configurations that ``config.compose`` makes.

Hydra loads its own node and the launcher; the experiment is kdrun's, with arms, scales and layers, so that
``--cfg job`` shows what will run and ``-m arm=kd,ce scale=smoke`` sweeps over them as over anything else.
"""

from __future__ import annotations

import contextlib
import itertools
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import OmegaConf

from kdrun.config.compose import Composer
from kdrun.config.experiment import Experiment, Selection
from kdrun.config.guard import OF_HYDRA
from kdrun.config.hydra_state import own_hydra, own_resolvers, whole_complaints
from kdrun.config.library import choosing, search_path_of
from kdrun.config.messages import plain
from kdrun.config.paths import RecipeFile, group_options, groups
from kdrun.config.places import refuse_led_away
from kdrun.config.sweeps import refuse_empty_glob, register_search
from kdrun.errors import InputError
from kdrun.grammar.objective import parse_objective

__all__ = ["Expect", "Loader", "experiment_of", "initialised", "plain_errors"]

HANDED_OVER = ".submitit"
"""Folder of what jobs of submitit are handed and give back, among the records."""

Expect = Callable[[Sequence[str], str], None]
"""Hears of each job of a multirun before the first one runs: its overrides, and the folder of records."""

TRIED = 64
"""How many combinations of swept options are looked at for one that has what else is said."""


class Loader(ConfigLoaderImpl):
    """Hydra's loader for one recipe. Arms and scales are offered as the options of groups of those names."""

    def __init__(self, recipe: RecipeFile, *, completing: bool = False, expect: Expect | None = None) -> None:
        """``completing``: nodes stand at the top, too, where a person addresses them."""
        super().__init__(config_search_path=search_path_of(recipe))
        self.recipe = recipe
        self.completing = completing
        self.expect = expect

    def __getstate__(self) -> dict[str, Any]:
        """What another process gets: it runs jobs that are known."""
        return {**vars(self), "expect": None}

    def load_sweep_config(self, *arguments: Any, **named: Any) -> Any:
        """The configuration of a job. Sweepers ask for each one before the first is launched."""
        config = super().load_sweep_config(*arguments, **named)
        self.told(list(config.hydra.overrides.task), str(config.get("runs") or "runs"))
        return config

    def told(self, overrides: Sequence[str], runs: str) -> None:
        """A job that is to be run, and the folder of records."""
        if self.expect is not None:
            self.expect(overrides, runs)

    def get_group_options(
        self,
        group_name: str,
        results_filter: ObjectType | None = ObjectType.CONFIG,
        config_name: str | None = None,
        overrides: list[str] | None = None,
    ) -> list[str]:
        """Options of a group, nested ones included, which is what globs choose from.

        Raises ``InputError`` for a group without any, since a glob over it would run nothing.
        """
        if results_filter is ObjectType.GROUP:  # nested options stand with their group: groups themselves do not nest
            found = super().get_group_options(group_name, results_filter, config_name, overrides)
            return [] if group_name else [*found, "arm", "scale"]
        if group_name in ("arm", "scale"):
            return list(Composer(self.recipe).base().config.get(f"{group_name}s") or {})
        if group_name.split("/")[0] == "hydra":
            return super().get_group_options(group_name, results_filter, config_name, overrides)
        if group_name == "transfer":  # the methods of the recipe's protocol: no other one fits
            protocol = Composer(self.recipe).base().choices.get("protocol")
            return [o.removeprefix(f"{protocol}/") for o in group_options("transfer") if o.startswith(f"{protocol}/")]
        return list(group_options(group_name))

    def compute_defaults_list(self, config_name: str | None, overrides: list[str], run_mode: RunMode) -> Any:
        """The defaults list with the recipe's choices, and those of its arm, its scale and the user."""
        parsed = OverridesParser.create(config_loader=self).parse_overrides(overrides)
        experiment = self._experiment([o for o in parsed if not _is_hydras(o)])
        hydras = [str(o.input_line) for o in parsed if _is_hydras(o)]
        return super().compute_defaults_list(config_name, [*choosing(self.recipe, experiment.given), *hydras], run_mode)

    def _load_configuration_impl(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
        **newer: Any,
    ) -> Any:
        """``newer``: what Hydra 1.4 hands on beside; the overrides that it has parsed are those of ``overrides``."""
        from omegaconf import open_dict

        parsed = OverridesParser.create(config_loader=self).parse_overrides(overrides)
        for override in parsed:
            if run_mode is RunMode.RUN and override.is_sweep_override() and not _is_hydras(override):
                raise InputError(
                    f"'{override.input_line}' stands for several values: add -m to run each, or write [a,b] for a list"
                )
            refuse_empty_glob(override)
        if validate_sweep_overrides:
            self.validate_sweep_overrides_legal(overrides=parsed, run_mode=run_mode, from_shell=from_shell)
        own = [o for o in parsed if not _is_hydras(o)]
        newer.pop("parsed_overrides", None)
        hydras = [str(o.input_line) for o in parsed if _is_hydras(o)]
        config = super()._load_configuration_impl(config_name, hydras, run_mode, from_shell, False, **newer)
        experiment = self._experiment(own)
        self._fill(config, experiment)
        if config.hydra.sweep.dir == ".":  # where Hydra leaves its multirun.yaml, and launchers what they hand over
            config.hydra.sweep.dir = str(_where_runs_lie(experiment))
            _keep_by_itself(config)
        _give_goal(config, experiment, parsed)
        chosen = [o for o in config.hydra.overrides.task if o.startswith(tuple(f"{group}=" for group in OF_HYDRA))]
        config.hydra.overrides.hydra.extend(chosen)
        config.hydra.overrides.task = [o.input_line for o in own]
        with open_dict(config.hydra):
            config.hydra.runtime.choices.update({k: v for k, v in experiment.choices.items() if v is not None})
        return config

    def _experiment(self, own: Sequence[Any]) -> Experiment:
        """What all jobs of a command line share. A setting may be one that only swept options have: then it is with one of them."""
        said = [str(o.input_line) for o in own if not o.is_sweep_override()]
        swept = [o for o in own if o.is_discrete_sweep() and o.key_or_group in (*groups(), "arm", "scale")]
        try:
            return experiment_of(self.recipe, said)
        except InputError as error:
            rows = [[f"{o.key_or_group}={value}" for value in o.sweep_string_iterator()] for o in swept]
            for choices in itertools.islice(itertools.product(*rows), TRIED) if rows else ():
                with contextlib.suppress(InputError):
                    return experiment_of(self.recipe, [*said, *choices])
            raise error from None

    def _fill(self, config: Any, experiment: Experiment) -> None:
        """The experiment in place of what Hydra composed beside its own node."""
        from omegaconf import open_dict

        shown = experiment.config
        if self.completing:
            shown = {**shown.get("graph", {}), **shown}
        with open_dict(config):
            for name in [name for name in config if name != "hydra"]:
                del config[name]
            for name, content in shown.items():
                config[name] = OmegaConf.create(content) if isinstance(content, dict | list) else content


def _where_runs_lie(experiment: Experiment) -> Path:
    """The folder of all records, in which what Hydra and launchers write has no link in its way. Raises ``InputError``."""
    folder = Path(experiment.config.get("runs") or "runs")
    if not any(override.path == "runs" for override in experiment.overrides):
        refuse_led_away(folder)
    for name in ("multirun.yaml", HANDED_OVER):
        _refuse_link(folder / name)
    return folder


def _keep_by_itself(config: Any) -> None:
    """What submitit hands to its jobs and back is pickled: it lies in a folder that is new, where nobody can have put anything."""
    launcher = config.hydra.launcher
    said: Any = OmegaConf.to_container(launcher)
    if str(said.get("submitit_folder", "")).startswith("${hydra.sweep.dir}/"):
        launcher.submitit_folder = str(Path(config.hydra.sweep.dir) / HANDED_OVER / uuid.uuid4().hex / "%j")


def _refuse_link(path: Path) -> None:
    """Raise ``InputError`` for a link where a file is written: what it leads to would be."""
    if path.is_symlink():
        raise InputError(f"{path} is a link, through which nothing is written: delete it, or set runs=FOLDER")


def _give_goal(config: Any, experiment: Experiment, given: Sequence[Any]) -> None:
    """A sweeper with a ``direction`` goes the way of the stated objective, unless the command line names another."""
    objective = parse_objective(experiment.config.get("objective"))
    said = any(o.key_or_group == "hydra.sweeper.direction" for o in given)
    if objective is not None and "direction" in config.hydra.sweeper and not said:
        config.hydra.sweeper.direction = objective.goal


def _is_hydras(override: Any) -> bool:
    return bool(override.is_hydra_override()) or override.key_or_group in OF_HYDRA


def experiment_of(recipe: RecipeFile, texts: Sequence[str]) -> Experiment:
    """The experiment that a recipe and overrides stand for, with ``arm=`` and ``scale=`` among them."""
    selection = Selection.of(texts)
    if selection.seeds is not None:
        raise InputError("a run has one seed: seed=3, or -m seed=3,7; seeds= goes with reproduce", key="seeds")
    return Composer(recipe, selection.overrides).compose(arm=selection.arm, scale=selection.scale)


@contextlib.contextmanager
def initialised(recipe: RecipeFile, *, completing: bool = False, expect: Expect | None = None) -> Iterator[Any]:
    from hydra._internal.hydra import Hydra
    from hydra.core.global_hydra import GlobalHydra

    register_search()
    with own_hydra(), own_resolvers(), whole_complaints():
        hydra = Hydra(task_name="kdrun", config_loader=Loader(recipe, completing=completing, expect=expect))
        GlobalHydra.instance().initialize(hydra)
        with own_resolvers(hydras=True):  # which Hydra has registered by now, among others
            yield hydra


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    try:
        yield
    except HydraException as error:
        raise InputError(plain(error)) from None
