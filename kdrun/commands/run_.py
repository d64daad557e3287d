"""``kdrun run RECIPE [key=value ...] [-m] [Hydra flags]``: one run, or a multirun through Hydra."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdrun.commands.failure import in_a_line, unexpected
from kdrun.commands.multirun import RETRY, found_by, is_multirun, meant, retried, summed_up
from kdrun.commands.output import say
from kdrun.config.experiment import Experiment
from kdrun.config.paths import RecipeFile, find_recipe
from kdrun.engine.multiruns import Multirun
from kdrun.engine.told import Told, Value
from kdrun.errors import KdrunError, Pruned
from kdrun.report.tables import number, objective_line
from kdrun.runtime.progress import Fan
from kdrun.runtime.reporters import make_reporter

if TYPE_CHECKING:
    from kdrun.engine.session import Outcome

__all__ = ["main", "run_experiment"]

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
    jobs = _Jobs(recipe, given, before)
    try:
        returned = app(recipe, given, jobs.run, jobs.expect if is_multirun(given) else None, _sweeper)
    finally:
        jobs.close()
    if (code := found_by(returned, arguments[0])) is not None:
        return code
    if len(jobs.here) == 1 and jobs.failures:
        raise jobs.failures[0]
    elsewhere = [getattr(value, "told", value) for value in returned]
    return summed_up(arguments[0], jobs.here or [told for told in elsewhere if isinstance(told, Told)])


def _sweeper() -> Any:
    """The sweeper of a search."""
    from kdrun.engine.searching import OptunaSweeper

    return OptunaSweeper()


class _Jobs:
    """What Hydra calls for each job, here or, handed over with the record, in another process.

    ``here`` is what the jobs of this process say of themselves, ``failures`` what they raised.
    """

    def __init__(self, recipe: RecipeFile, given: Sequence[str], before: Multirun | None) -> None:
        self.recipe, self.before = recipe, before
        self.given = [word for word in given if word not in ("-m", "--multirun")]
        self.fixed = {o for word in given for o in meant(word)}
        self.record: Multirun | None = None
        self.here: list[Told] = []
        self.failures: list[Exception] = []

    def own(self, overrides: Sequence[str]) -> list[str]:
        """What a job has of its own."""
        return [o for o in overrides if not self.fixed.issuperset(meant(o))] or list(overrides)

    def expect(self, overrides: Sequence[str], runs: str) -> None:
        """Note a job of a multirun before any runs."""
        if self.record is None:
            name = self.recipe.name
            self.record = (
                self.before.again(name, self.given) if self.before else Multirun.begin(Path(runs), name, self.given)
            )
        self.record.expect(overrides, " ".join(self.own(overrides)))

    def close(self) -> None:
        if self.record is not None:
            self.record.close()

    def run(self, config: Any) -> Told | Value:
        """One job, whatever comes of it. Only what ends the whole command is raised."""
        from hydra.core.hydra_config import HydraConfig

        overrides = list(HydraConfig.get().overrides.task)
        told, value = Told(self.own(overrides)), None
        try:
            outcome = self._outcome(overrides, " ".join(told.words))
            told.metrics, value = dict(outcome.metrics), outcome.reached.value if outcome.reached else None
        except BrokenPipeError:
            raise
        except Pruned as error:
            value, told.state, told.error = math.nan, "pruned", _cause(error)
            say(f"[{' '.join(told.words)}] pruned: {told.error}")
        except Exception as error:  # Hydra would add lines of its own
            self.failures.append(error)
            value, told.error = math.nan, _cause(error)
            told.state, told.code = "failed", error.exit_code if isinstance(error, KdrunError) else 1
            self._say(error, " ".join(told.words))
        except BaseException:
            self._tell(overrides, " ".join(told.words), "interrupted")
            raise
        self._tell(overrides, " ".join(told.words), told.state, error=told.error or None)
        self.here.append(told)
        return told if value is None else Value(value, told)

    def _outcome(self, overrides: list[str], words: str) -> Outcome:
        from hydra.core.hydra_config import HydraConfig

        from kdrun.config.hydra_app import experiment_of

        finished = self.record.finished(overrides) if self.record is not None and self.before is not None else None
        self._tell(overrides, words, "running")
        experiment = experiment_of(self.recipe, overrides)
        if self.record is None:
            return run_experiment(experiment)
        return run_experiment(
            experiment,
            label=f"[{words}] ",
            trial=dict(HydraConfig.get().sweeper),
            records=finished,
            begun=lambda folder: self._tell(overrides, words, "running", records=folder.name),
        )

    def _tell(self, overrides: Sequence[str], words: str, state: str, **more: Any) -> None:
        if self.record is not None:
            self.record.tell(overrides, words, state, **more)

    def _say(self, error: Exception, words: str) -> None:
        if self.record is None:
            return
        if isinstance(error, KdrunError):
            say(f"kdrun: {words}: {in_a_line(error)}", file=sys.stderr)
        else:
            unexpected(error)


def _cause(error: Exception) -> str:
    return in_a_line(error if isinstance(error, KdrunError) else f"{type(error).__name__}: {error}".removesuffix(": "))


def run_experiment(
    experiment: Experiment,
    *,
    label: str = "",
    trial: Mapping[str, Any] | None = None,
    records: Path | None = None,
    begun: Callable[[Path], None] = lambda folder: None,
) -> Outcome:
    """Run one experiment with records, trackers and progress; prints its metrics. ``begun`` hears where the records lie.

    ``trial`` are the settings of the sweeper that asks for it, if one does.
    """
    reporter = make_reporter(label)
    reporter.preparing(f"{experiment.recipe}: checking and planning")
    try:
        from kdrun.engine.recording import run_recorded
        from kdrun.engine.session import Session

        session = Session(experiment, reporter)
        if trial is not None and trial.get("trial") is not None:
            from kdrun.engine.pruning import pruning_of

            if (pruning := pruning_of(trial, session.graph)) is not None:
                session.executor.reporter = Fan(reporter, pruning)
        outcome, folder = run_recorded(session, records, begun)
    finally:
        reporter.close()
    for name, value in sorted(outcome.metrics.items()):
        say(f"{label}{name:<32} {number(value)}")
    if outcome.reached is not None:
        say(f"{label}{objective_line(outcome.reached)}")
    counts = f"stages computed: {outcome.counts['computed']}, from the store: {outcome.counts['cached']}"
    say(f"{label}records: {folder}  ({counts})")
    return outcome
