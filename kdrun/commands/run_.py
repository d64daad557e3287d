"""``kdrun run RECIPE [key=value ...] [-m] [Hydra flags]``: one run, or a multirun through Hydra."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kdrun.commands.failure import unexpected
from kdrun.commands.output import say
from kdrun.config.experiment import Experiment
from kdrun.config.layers import parse_text
from kdrun.config.paths import find_recipe
from kdrun.errors import KdrunError
from kdrun.grammar.measurements import in_table
from kdrun.report.tables import arm_table, number, objective_line, text_table
from kdrun.runtime.reporters import make_reporter

if TYPE_CHECKING:
    from kdrun.engine.session import Outcome

__all__ = ["main", "run_experiment"]

Swept = dict[str, dict[int, Mapping[str, float]]]
"""What was swept, but the seed → seed → figures."""

HELP = """usage: kdrun run RECIPE [key=value ...] [-m] [Hydra flags]

Runs a recipe once, or with -m (--multirun) once for each combination of comma-separated values:
  kdrun run kd student=cnn_tiny optimizer.lr=0.05 transfer.temperature=2
  kdrun run loku arm=gd scale=smoke unlearn.steps=100
  kdrun run kd -m seed=0,1,2 arm=kd,scratch transfer.temperature=2,4
  kdrun run kd -m "transfer=glob(*kd*)"

A node of the graph is addressed by its name (kdrun show RECIPE), arm= and scale= choose the recipe's.
Hydra's flags work: --cfg job|hydra|all, --info, --resolve, --package, launchers by launcher=joblib,
tab completion: eval "$(kdrun -sc install=bash)". store=FOLDER chooses the store, runs=FOLDER the records."""


def main(arguments: Sequence[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        say(HELP)
        return 0
    recipe = find_recipe(arguments[0])
    from kdrun.config.hydra_app import app, experiment_of

    failures: list[Exception] = []
    here: list[Told] = []
    fixed = {o for argument in arguments[1:] for o in _meant(argument)}

    def task(config: Any) -> Told | Value:
        from hydra.core.hydra_config import HydraConfig

        job = HydraConfig.get()
        given = list(job.overrides.task)
        multirun = str(job.mode).endswith("MULTIRUN")
        own = [o for o in given if not fixed.issuperset(_meant(o))] or given  # what this job has of its own
        words, told, value = " ".join(own), Told(own), None
        try:
            outcome = run_experiment(experiment_of(recipe, given), label=f"[{words}] " if multirun else "")
            told.metrics, value = dict(outcome.metrics), outcome.reached.value if outcome.reached else None
        except BrokenPipeError:
            raise
        except Exception as error:  # Hydra would add lines of its own
            failures.append(error)
            told.code, value = error.exit_code if isinstance(error, KdrunError) else 1, math.nan
            if multirun and isinstance(error, KdrunError):
                say(f"kdrun: {words}: {error}", file=sys.stderr)
            elif multirun:
                unexpected(error)
        here.append(told)
        return told if value is None else Value(value, told)

    returned = app(recipe, arguments[1:], task)
    if len(here) == 1 and failures:
        raise failures[0]
    elsewhere = [getattr(value, "told", value) for value in returned]
    return _summed_up(here or [told for told in elsewhere if isinstance(told, Told)])


@dataclass
class Told:
    """What a job of a multirun says of itself, also from another process: what was swept, its figures, its exit code."""

    words: list[str]
    metrics: dict[str, float] = field(default_factory=dict)
    code: int = 0


class Value(float):
    """A job's objective, NaN of one that failed, as sweepers read it, with all that the job says."""

    told: Told

    def __new__(cls, value: float, told: Told) -> Value:
        made = super().__new__(cls, value)
        made.told = told
        return made

    def __getnewargs__(self) -> tuple[float, Told]:  # type: ignore[override]
        return float(self), self.told


def _summed_up(jobs: Sequence[Told]) -> int:
    """Say of several jobs what they gave, and which failed; return the exit code of all."""
    failed = [job for job in jobs if job.code]
    if len(jobs) > 1 and len(failed) < len(jobs):
        swept: Swept = {}
        for job in jobs:
            if not job.code:
                keep(swept, job.words, job.metrics)
        say(f"\n{sweep_table(swept)}")
    if len(jobs) > 1 and failed:
        say(
            f"kdrun: {len(failed)} of {len(jobs)} jobs failed: {'; '.join(' '.join(job.words) for job in failed)}",
            file=sys.stderr,
        )
    return max((job.code for job in jobs), default=0)


def _meant(text: str) -> list[tuple[str, str]]:
    """The key and the value of an override, however it is written; nothing of one that stands for several values, or of a flag."""
    try:
        return [(o.path, repr(o.value)) for o in parse_text([text])]
    except KdrunError:
        return []


def keep(swept: Swept, words: Sequence[str], metrics: Mapping[str, float]) -> None:
    """Put a job's figures under what was swept, by its seed."""
    seeds = [word for word in words if word.startswith("seed=")]
    runs = swept.setdefault(" ".join(word for word in words if word not in seeds) or "all", {})
    runs[int(seeds[0].partition("=")[2]) if seeds else 0] = metrics


def sweep_table(swept: Swept) -> str:
    """A row a combination of what was swept, a column a metric of the tables named ``test`` or, without one, any: means over seeds."""
    names = {name for runs in swept.values() for metrics in runs.values() for name in metrics}
    header, rows = arm_table(swept, sorted(name for name in names if in_table(name, "test")))
    return text_table(["swept", *header[1:]], rows)


def run_experiment(experiment: Experiment, *, label: str = "") -> Outcome:
    """Run one experiment with records, trackers and progress; prints its metrics."""
    reporter = make_reporter(label)
    reporter.preparing(f"{experiment.recipe}: checking and planning")
    try:
        from kdrun.engine.recording import run_recorded
        from kdrun.engine.session import Session

        outcome, folder = run_recorded(Session(experiment, reporter))
    finally:
        reporter.close()
    for name, value in sorted(outcome.metrics.items()):
        say(f"{label}{name:<32} {number(value)}")
    if outcome.reached is not None:
        say(f"{label}{objective_line(outcome.reached)}")
    counts = f"stages computed: {outcome.counts['computed']}, from the store: {outcome.counts['cached']}"
    say(f"{label}records: {folder}  ({counts})")
    return outcome
