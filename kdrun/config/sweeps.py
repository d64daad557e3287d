"""What the words of a multirun stand for, counted before any job is made."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, RangeSweep
from hydra.errors import HydraException

from kdrun.errors import InputError
from kdrun.limits import refuse_beyond

__all__ = ["is_search", "refuse_empty_glob", "refuse_many", "register_search"]


SEARCH: dict[str, Any] = {
    "_target_": "kdrun.engine.searching.OptunaSweeper",
    "n_trials": 20,  # of the study in all, those of earlier commands included
    "n_jobs": 1,  # trials at a time, with launcher=joblib or slurm
    "sampler": "tpe",  # tpe, random, grid, nsgaii, cmaes or gp
    "pruner": "median",  # median, hyperband, halving or none: by the curve of a stage that validates
    "prune_by": None,  # that stage; else the last one that validates with an objective
    "objectives": None,  # several metrics, each METRIC or {metric: METRIC, goal: minimize}; else the stated objective
    "seed": 0,  # of the choices, not of the runs
    "study_name": None,  # else one a search: the same words go on with the same study
    "params": None,  # what is searched beside the words of the command line
    "study": None,  # of a job: said by the sweeper
    "trial": None,
}
"""What ``sweeper=optuna`` takes, as ``hydra.sweeper.n_trials=50``."""


def register_search() -> None:
    """Let Hydra know these settings, as ``hydra/sweeper=kdrun_optuna``."""
    ConfigStore.instance().store(group="hydra/sweeper", name="kdrun_optuna", node=SEARCH, provider="kdrun")


def refuse_many(texts: Sequence[str]) -> None:
    """Count the jobs of a multirun before any is made. Raises ``InputError``; what Hydra cannot read is told by Hydra."""
    count, searched = 1, is_search(texts)
    for text in texts:
        try:
            sweep = OverridesParser.create().parse_override(text).value()
        except HydraException:
            continue
        count = max(_values_of(sweep), 1) * (1 if searched else count)  # a search has as many jobs as it says
        refuse_beyond("jobs", count, "jobs of a multirun", key=text[:60])


def is_search(texts: Sequence[str]) -> bool:
    """Whether the sweeper is the one that asks a study."""
    return any(re.match(r"sweeper=optuna$|hydra/sweeper=kdrun_optuna$", text) for text in texts)


def _values_of(sweep: Any) -> int:
    """How many values a choice or a range stands for; 1 of anything else."""
    if isinstance(sweep, ChoiceSweep):
        return sum(_values_of(value) for value in sweep.list)
    if isinstance(sweep, RangeSweep):
        if not sweep.step:
            raise InputError("a range goes by steps other than 0")
        if not all(math.isfinite(end) for end in (sweep.start or 0, sweep.stop or 0, sweep.step)):
            raise InputError("a range has a beginning and an end")
        return math.ceil(abs((sweep.stop or 0) - (sweep.start or 0)) / abs(sweep.step))
    return 1


def refuse_empty_glob(override: Any) -> None:
    """A pattern that no option matches would run nothing, without a word."""
    if override.is_sweep_override() and not override.is_discrete_sweep():
        return
    try:
        empty = override.is_sweep_override() and next(iter(override.sweep_string_iterator()), None) is None
    except ValueError as error:
        raise InputError(f"cannot read '{override.input_line}': {error}", key=override.key_or_group) from None
    if empty:
        raise InputError(f"'{override.input_line}' matches no option", key=override.key_or_group)
