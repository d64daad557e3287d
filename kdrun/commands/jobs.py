"""The jobs of ``kdrun run``: one, or those of a multirun, each run where Hydra's launcher calls it."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdrun.commands.failure import in_a_line, unexpected
from kdrun.commands.multirun import meant
from kdrun.commands.output import say
from kdrun.config.experiment import Experiment
from kdrun.config.paths import RecipeFile
from kdrun.engine.multiruns import Multirun
from kdrun.engine.told import Told, Value
from kdrun.errors import KdrunError, Occupied, Pruned
from kdrun.report.tables import number, objective_line
from kdrun.runtime.progress import Fan
from kdrun.runtime.reporters import make_reporter

if TYPE_CHECKING:
    from kdrun.engine.session import Outcome

__all__ = ["Jobs", "run_experiment"]


class Jobs:
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

    def in_order(self, told: Sequence[Told]) -> list[Told]:
        """What jobs of other processes said of themselves, in the order of the jobs."""
        order = {job.words: i for i, job in enumerate(self.record.states())} if self.record is not None else {}
        return sorted(told, key=lambda one: order.get(" ".join(one.words), len(order)))

    def close(self) -> None:
        if self.record is not None:
            self.record.close()

    def run(self, config: Any) -> Told | Value:
        """One job, whatever comes of it. Only what ends the whole command is raised."""
        from hydra.core.hydra_config import HydraConfig

        hydra = HydraConfig.get()
        overrides, trial = list(hydra.overrides.task), dict(hydra.sweeper)
        elsewhere = not str(hydra.launcher.get("_target_")).endswith(".BasicLauncher")
        several = elsewhere and str(trial["_target_"]).endswith(".BasicSweeper")
        if self.record is not None and several:
            return self._any(self.record, overrides)
        return self._one(overrides, trial)

    def _any(self, record: Multirun, own: list[str]) -> Told | Value:
        """Some job that no process has: ``own``, else the next one. One that comes to a stage that another is at gives way to the others.

        As many processes ask as there are jobs, each for one, so that each job is run.
        """
        occupied: dict[tuple[str, ...], str] = {}
        while True:
            while (overrides := record.take(own, besides=occupied)) is not None:
                try:
                    return self._one(overrides, waits=False)
                except Occupied as error:
                    record.give_back(overrides)
                    occupied[tuple(overrides)] = error.stage
                finally:
                    record.let_go(overrides)
            if not occupied:  # all are taken, also one by a process that has died
                return self._one(own)
            occupied = self._still_occupied(occupied, own)

    def _still_occupied(self, occupied: Mapping[tuple[str, ...], str], own: list[str]) -> dict[tuple[str, ...], str]:
        from kdrun.config.hydra_loader import experiment_of
        from kdrun.engine.launching import still_occupied
        from kdrun.engine.remote_store import store_of

        return still_occupied(store_of(experiment_of(self.recipe, own).config), occupied)

    def _one(self, overrides: list[str], trial: Mapping[str, Any] | None = None, *, waits: bool = True) -> Told | Value:
        told, value = Told(self.own(overrides)), None
        words = " ".join(told.words)
        try:
            outcome = self._outcome(overrides, words, trial, waits)
            told.metrics, value = dict(outcome.metrics), outcome.reached.value if outcome.reached else None
        except BrokenPipeError:
            raise
        except Occupied:
            self._tell(overrides, words, "waiting")
            raise
        except Pruned as error:
            value, told.state, told.error = math.nan, "pruned", _cause(error)
            say(f"[{words}] pruned: {told.error}")
        except Exception as error:  # Hydra would add lines of its own
            self.failures.append(error)
            value, told.error = math.nan, _cause(error)
            told.state, told.code = "failed", error.exit_code if isinstance(error, KdrunError) else 1
            self._say(error, words)
        except BaseException:
            self._tell(overrides, words, "interrupted")
            raise
        self._tell(overrides, words, told.state, error=told.error or None)
        self.here.append(told)
        return told if value is None else Value(value, told)

    def _outcome(self, overrides: list[str], words: str, trial: Mapping[str, Any] | None, waits: bool) -> Outcome:
        from kdrun.config.hydra_loader import experiment_of

        finished = self.record.finished(overrides) if self.record is not None and self.before is not None else None
        self._tell(overrides, words, "running")
        experiment = experiment_of(self.recipe, overrides)
        if self.record is None:
            return run_experiment(experiment)
        return run_experiment(
            experiment,
            label=f"[{words}] ",
            trial=trial,
            records=finished,
            begun=lambda folder: self._tell(overrides, words, "running", records=folder.name),
            waits=waits,
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
    waits: bool = True,
) -> Outcome:
    """Run one experiment with records, trackers and progress; prints its metrics. ``begun`` hears where the records lie.

    ``trial`` are the settings of the sweeper that asks for it, if one does. Unless it ``waits``, ``Occupied`` is raised where another
    process is at a stage.
    """
    reporter = make_reporter(label)
    reporter.preparing(f"{experiment.recipe}: checking and planning")
    try:
        from kdrun.engine.recording import run_recorded
        from kdrun.engine.session import Session

        session = Session(experiment, reporter)
        session.executor.waits = waits
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
