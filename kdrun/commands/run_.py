"""``kdrun run RECIPE [key=value ...] [-m] [Hydra flags]``: one run, or a multirun through Hydra."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kdrun.commands.jobs import Jobs
from kdrun.commands.multirun import RETRY, found_by, is_multirun, retried, summed_up
from kdrun.commands.output import say
from kdrun.config.paths import find_recipe
from kdrun.engine.told import Told

__all__ = ["main"]

HELP = """usage: kdrun run RECIPE [key=value ...] [-m [--retry-failed]] [Hydra flags]

Runs a recipe once, or with -m (--multirun) once for each combination of comma-separated values:
  kdrun run kd student=cnn_tiny optimizer.lr=0.05 transfer.temperature=2
  kdrun run loku arm=gd scale=smoke unlearn.steps=100
  kdrun run kd -m seed=0,1,2 arm=kd,scratch transfer.temperature=2,4
  kdrun run kd -m "transfer=glob(*kd*)"
  kdrun run kd -m sweeper=optuna "optimizer.lr=tag(log,interval(0.001,0.3))" hydra.sweeper.n_trials=30
  kdrun run kd -m --retry-failed          what failed, was cut off or had not begun of the last multirun

A node of the graph is addressed by its name (kdrun show RECIPE), arm= and scale= choose the recipe's.
Hydra's flags work: --cfg job|hydra|all, --info, --resolve, --package, launchers by launcher=joblib,
tab completion: eval "$(kdrun -sc install=bash)". store=FOLDER chooses the store, runs=FOLDER the records."""


def main(arguments: Sequence[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        say(HELP)
        return 0
    recipe = find_recipe(arguments[0])
    from kdrun.config.hydra_app import app

    given, before = list(arguments[1:]), None
    if RETRY in given:
        given, before = retried(recipe.name, arguments[0], given)
    jobs = Jobs(recipe, given, before)
    try:
        returned = app(recipe, given, jobs.run, jobs.expect if is_multirun(given) else None, _sweeper)
    finally:
        jobs.close()
    if (code := found_by(returned, arguments[0])) is not None:
        return code
    if len(jobs.here) == 1 and jobs.failures:
        raise jobs.failures[0]
    elsewhere = [getattr(value, "told", value) for value in returned]
    there = jobs.in_order([told for told in elsewhere if isinstance(told, Told)])
    return summed_up(arguments[0], jobs.here or there)


def _sweeper() -> Any:
    """The sweeper of a search."""
    from kdrun.engine.searching import OptunaSweeper

    return OptunaSweeper()
