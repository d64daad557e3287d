"""What a search found: a table of its trials, the best one or the Pareto front, and how to run it."""

from __future__ import annotations

import shlex

from kdrun.engine.searching import Found
from kdrun.engine.studies import Trial
from kdrun.errors import printable
from kdrun.report.tables import number, text_table

__all__ = ["best_lines", "failed_lines", "trial_table"]

FAILED = 10
"""Failures that are named one by one."""


def trial_table(found: Found) -> str:
    """A row a trial, the best first: its number, how it ended, the values of the objectives, and what was chosen."""
    names = [knob.key for knob in found.knobs]
    header = ["trial", "state", *(one.metric for one in found.objectives), *names]
    return text_table(
        header, [_row(trial, found) for trial in sorted(found.trials, key=lambda trial: _place(trial, found))]
    )


def _row(trial: Trial, found: Found) -> list[str]:
    state = f"pruned at epoch {trial.epochs}" if trial.state == "pruned" and trial.epochs else trial.state
    values = [number(value) for value in trial.values] or [""] * len(found.objectives)
    mark = " *" if trial.number in found.best else ""
    return [f"{trial.number}{mark}", state, *values, *(_shown(trial.params.get(knob.key, "")) for knob in found.knobs)]


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _place(trial: Trial, found: Found) -> tuple[object, ...]:
    sign = 1 if found.objectives[0].goal == "minimize" else -1
    return (not trial.values, sign * trial.values[0] if trial.values else 0, trial.state, trial.number)


def best_lines(found: Found, recipe: str) -> str:
    """The best trial, or those that no other is better than in all objectives, each with the command that runs it."""
    goals = ", ".join(map(str, found.objectives))
    trials = {trial.number: trial for trial in found.trials}
    if not found.best:
        return f"{goals}: no trial ended well"
    one = len(found.objectives) == 1
    lines = [f"{goals}: {'best' if one else 'Pareto front'} of {len(found.trials)} trials, in {found.study}"]
    for place in sorted(found.best, key=lambda place: _place(trials[place], found)):
        words = [knob.override(trials[place].params[knob.key]) for knob in found.knobs]
        values = ", ".join(number(value) for value in trials[place].values)
        lines.append(f"  trial {place}: {values}  kdrun run {shlex.join([recipe, *found.fixed, *words])}")
    return "\n".join(lines)


def failed_lines(found: Found) -> list[str]:
    """A line for each of the first trials that failed, with why."""
    failed = [trial for trial in found.trials if trial.state == "failed"]
    lines = [f"  trial {trial.number}: {printable(trial.error, line=True)}" for trial in failed[:FAILED]]
    more = [f"  … and {len(failed) - FAILED} more"] if len(failed) > FAILED else []
    return [f"{len(failed)} of {len(found.trials)} trials failed:", *lines, *more] if failed else []
