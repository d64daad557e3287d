"""``kdrun run`` under Hydra: its flags, sweepers and launchers."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, RunMode

from kdrun.config.hydra_loader import Expect, initialised, plain_errors
from kdrun.config.launchers import joined
from kdrun.config.paths import RecipeFile
from kdrun.config.readable import readable
from kdrun.config.sweeps import is_search, refuse_many
from kdrun.errors import InputError

__all__ = ["app"]

FOREIGN = ("config_path", "config_name", "config_dir", "experimental_rerun")
"""Flags of Hydra that would name another configuration, or a pickled one."""


def app(
    recipe: RecipeFile,
    arguments: Sequence[str],
    task: Callable[[Any], Any],
    expect: Expect | None = None,
    search: Callable[[], Sweeper] | None = None,
) -> list[Any]:
    """Run ``task`` for the configuration, or the configurations, that the command line describes, or show what it asks for.

    ``expect`` hears of the jobs of a multirun before, and ``search`` makes the sweeper of ``sweeper=optuna``. Returns what the jobs of a multirun returned, wherever they ran. Raises ``InputError`` for what cannot be composed.
    """
    from hydra._internal.utils import get_args_parser

    returned: list[Any] = []

    parser = get_args_parser()
    given = _parsed(parser, [a for a in arguments if a])
    given.overrides = [readable(o) for o in given.overrides]
    if given.multirun:
        refuse_many(given.overrides)
    asked = [f for f in ("cfg", "info", "multirun", "shell_completion", "run") if getattr(given, f)]
    for flag in FOREIGN:
        if getattr(given, flag, None):
            raise InputError("kdrun's configurations stand in conf/ and recipes/", key=f"--{flag.replace('_', '-')}")
    if len(asked) > 1:
        raise InputError(f"only one of --run, --multirun, --cfg and --info at a time; got {' and '.join(asked)}")
    with initialised(recipe, completing=given.shell_completion, expect=expect) as hydra, plain_errors():
        if given.hydra_help:
            hydra.hydra_help(config_name="config", args_parser=parser, args=given)
        elif given.cfg:
            hydra.show_cfg("config", given.overrides, given.cfg, given.package, given.resolve)
        elif given.info:
            hydra.show_info(given.info, config_name="config", overrides=given.overrides)
        elif given.shell_completion:
            hydra.shell_completion(config_name="config", overrides=given.overrides)
        elif given.multirun:
            returned = _several(hydra, given.overrides, task, search)
        else:
            hydra.run("config", task, [*given.overrides, "hydra.mode=RUN"])
    return returned


def _several(
    hydra: Any, overrides: list[str], task: Callable[[Any], Any], search: Callable[[], Sweeper] | None
) -> list[Any]:
    """What the jobs of a multirun return."""
    with joined(hydra, overrides):
        if search is not None and is_search(overrides):
            return [_searched(hydra, search(), [*overrides, "hydra.mode=MULTIRUN"], task)]
        batches = hydra.multirun("config", task, [*overrides, "hydra.mode=MULTIRUN"])
        return [job.return_value for batch in batches for job in batch] if isinstance(batches, list) else []


def _searched(hydra: Any, sweeper: Sweeper, overrides: list[str], task: Callable[[Any], Any]) -> Any:
    """A multirun by a sweeper that is no plug-in of Hydra's, which takes these from packages of their own."""
    from hydra._internal.callbacks import Callbacks

    config = hydra.compose_config("config", overrides, run_mode=RunMode.MULTIRUN, with_log_configuration=True)
    context = HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks(config))
    sweeper.setup(hydra_context=context, task_function=task, config=config)
    return sweeper.sweep(arguments=list(config.hydra.overrides.task))


def _parsed(parser: Any, arguments: Sequence[str]) -> Any:
    """Hydra's flags and the overrides, in any order. Raises ``InputError`` for a flag that there is not."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return parser.parse_intermixed_args(list(arguments))
    except SystemExit:
        complaint = said.getvalue().strip().rpartition("error: ")[2]
        raise InputError(f"{complaint}; see kdrun run --help") from None
