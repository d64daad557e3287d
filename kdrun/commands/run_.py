"""``kdrun run RECIPE [key=value ...] [-m] [Hydra flags]``: one run, or a multirun through Hydra."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kdrun.config.experiment import Experiment
from kdrun.config.layers import parse_text
from kdrun.config.paths import find_recipe
from kdrun.errors import KdrunError
from kdrun.grammar.measurements import in_table
from kdrun.report.tables import arm_table, number, objective_line, text_table
from kdrun.runtime.progress import make_reporter

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
        print(HELP)
        return 0
    recipe = find_recipe(arguments[0])
    from kdrun.config.hydra_app import app, experiment_of

    failures: list[KdrunError] = []
    swept: Swept = {}
    fixed = {o for argument in arguments[1:] for o in _meant(argument)}
    jobs = 0

    def task(config: Any) -> float | None:
        nonlocal jobs
        from hydra.core.hydra_config import HydraConfig

        jobs += 1
        job = HydraConfig.get()
        given = list(job.overrides.task)
        multirun = str(job.mode).endswith("MULTIRUN")
        words = [o for o in given if not fixed.issuperset(_meant(o))] or given  # what this job has of its own
        try:
            outcome = run_experiment(experiment_of(recipe, given), label=f"[{' '.join(words)}] " if multirun else "")
            keep(swept, words, outcome.metrics)
        except KdrunError as error:
            failures.append(error)
            if multirun:
                print(f"kdrun: {' '.join(words)}: {error}", file=sys.stderr)
            return math.nan
        return outcome.reached.value if outcome.reached is not None else None

    returned = app(recipe, arguments[1:], task)
    if jobs > 1 and swept:
        print(f"\n{sweep_table(swept)}")
    elif not jobs and len(returned) > 1:
        print("\nkdrun runs shows these side by side")
    if jobs == 1 and failures:
        raise failures[0]
    failed_elsewhere = any(isinstance(value, float) and math.isnan(value) for value in returned)
    return max((e.exit_code for e in failures), default=1 if failed_elsewhere else 0)


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
        print(f"{label}{name:<32} {number(value)}")
    if outcome.reached is not None:
        print(f"{label}{objective_line(outcome.reached)}")
    counts = f"stages computed: {outcome.counts['computed']}, from the store: {outcome.counts['cached']}"
    print(f"{label}records: {folder}  ({counts})")
    return outcome
