"""A study: the arms of a recipe over several seeds, checked as a whole, run, and judged."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kdrun.api.frozen import freeze, late
from kdrun.api.statements import check_decidable, check_stated
from kdrun.api.tuning import Tuned, checked_tuning, tune
from kdrun.claims import Agreement, Verdict, agreements, judge_all, judge_at_looks
from kdrun.claims.values import Results
from kdrun.config.compose import Composer
from kdrun.config.experiment import Experiment, Selection
from kdrun.config.layers import COMMAND_LINE, Override
from kdrun.engine.jobs import Job
from kdrun.engine.records import ready_folder
from kdrun.engine.session import Outcome, Session
from kdrun.engine.sweep import By, sessions_of, sweep
from kdrun.errors import InputError, KdrunError, RunError, nearest
from kdrun.grammar.tuning import Tuning
from kdrun.graph.columns import labels
from kdrun.limits import refuse_beyond
from kdrun.report.leaderboard import leaderboard
from kdrun.runtime.files import refuse_links
from kdrun.runtime.journal import JOURNAL, Journal
from kdrun.runtime.progress import Fan, Reporter

__all__ = ["Study", "StudyOutcome", "label_of"]

WITHOUT_EFFECT = (
    "store",
    "runs",
    "plugins",
    "tracker",
    "launcher",
    "sweeper",
    "hydra",
    "hardware",
    "checkpoint_seconds",
)
"""Settings that say where and with what a study is run, not what it computes."""

LONGEST = 60
"""Characters of the settings in a folder's name."""


def label_of(arm: str, seed: int) -> str:
    """What the run of an arm at a seed is called."""
    return f"[{arm} seed {seed}]"


@dataclass(frozen=True)
class StudyOutcome:
    """What the runs of a study gave; by label: outcomes, and errors of those that failed."""

    outcomes: Mapping[str, Outcome]
    failures: Mapping[str, KdrunError]
    results: Results


@dataclass(frozen=True)
class Study:
    """Runs that were composed and checked, and the claims to judge. ``base`` is the recipe at the scale, without an arm."""

    base: Experiment
    scale: str
    arms: Sequence[str]
    seeds: Sequence[int]
    jobs: Sequence[Job]
    sessions: Mapping[str, Session]
    claims: Mapping[str, Any]
    board: Mapping[str, Any] | None
    left_out: Mapping[str, Sequence[str]]
    """Settings of the user's that have no meaning in some arms, and those arms."""
    asked: tuple[Composer, Selection, Sequence[str] | None]
    """What the study was made of."""
    looks: tuple[int, ...] = ()
    """The numbers of seeds at which claims are judged, where that is done more than once."""
    tuning: Tuning | None = None
    chosen: Tuned | None = None
    """What is to be tuned, and what was chosen."""

    @classmethod
    def of(cls, composer: Composer, selection: Selection, arms: Sequence[str] | None = None) -> Study:
        """All arms of a recipe at the selected scale (``small`` if none is) and seeds, or some ``arms``.

        Claims are judged where all arms run. Raises ``InputError``, with file and line, for whatever is wrong in any run or claim.
        """
        composer.every_arm = selection.arm is None
        scale = selection.scale or "small"
        base = composer.compose(scale=scale)
        wanted = arms if arms is not None else [selection.arm] if selection.arm else None
        chosen = _arms(base, wanted)
        seeds = _seeds(selection.seeds, base)
        if wanted is None and scale == "small":
            _refuse_looked_at(base, seeds)
        _refuse_one_method(base, selection.overrides)
        tuning = None if composer.tuned else checked_tuning(composer, base, seeds if wanted is None else ())
        board = check_stated(composer, base)
        if board is not None and board["against"] not in chosen:
            board = None
        jobs = [
            Job(label_of(arm, seed), e) for seed, row in composer.grid(chosen, seeds, scale) for arm, e in row.items()
        ]
        sessions = sessions_of(jobs)
        claims = {} if wanted is not None else base.claims
        measured = {arm: labels(sessions[label_of(arm, seeds[0])].graph) for arm in chosen}
        check_decidable(base, claims, board, measured, scale)
        asked = (composer, selection, arms)
        return cls(base, scale, chosen, seeds, jobs, sessions, claims, board, composer.left_out, asked, tuning=tuning)

    def tuned(self, reporter: Reporter, workers: By) -> Study:
        """The same, where it tunes something, with each arm's best value: all are tried first, by ``workers``.

        Raises ``RunError`` for an arm in which no value runs.
        """
        if self.tuning is None or self.chosen is not None:
            return self
        composer, selection, arms = self.asked
        found = tune(composer, self.tuning, self.arms, self.scale, reporter, workers)
        study = Study.of(replace(composer, tuned=found.overrides(), left_out={}), selection, arms)
        return replace(study, looks=self.looks, tuning=self.tuning, chosen=found, asked=self.asked)

    def folder(self, runs: str | Path) -> Path:
        """Where the records of this study stand inside ``runs``: those of a run in a folder named after its arm and seed.

        A study of some arms, or with settings of the user's, has a folder of its own: the recipe's whole one stays as it is.
        """
        told = [o.key for o in self.base.overrides if o.layer == COMMAND_LINE and o.first not in WITHOUT_EFFECT]
        whole = len(self.arms) == len(self.base.config["arms"])
        words = " ".join([*told, *([] if whole else [f"arms={','.join(self.arms)}"])])
        name = re.sub(r"[^\w.,=+~-]+", "_", words)
        if len(name) > LONGEST:
            name = f"{name[:LONGEST]}-{hashlib.sha256(words.encode()).hexdigest()[:8]}"
        return (
            Path(runs) / self.base.recipe.replace("/", "-") / "-".join(filter(None, [f"reproduce-{self.scale}", name]))
        )

    def run(self, reporter: Reporter, workers: By, runs: str | Path | None = None) -> StudyOutcome:
        """Run what the store does not hold, by ``workers``, with records in ``runs`` if it is given.

        Raises ``RunError`` if every run failed.
        """
        if runs is not None and self.claims and self.scale != "smoke":
            freeze(self.folder(runs), self.base.config, self.seeds, WITHOUT_EFFECT)
        jobs = self.jobs if runs is None else [replace(j, records=self.records_of(j, runs)) for j in self.jobs]
        with _journalled(reporter, self, runs) as told:
            outcomes, failures = sweep(jobs, self.sessions, workers=workers, reporter=told)
        if not outcomes:
            label, first = next(iter(failures.items()))
            raise RunError(f"all {len(self.jobs)} runs failed; the first is {label}: {first}")
        results = {
            arm: {seed: outcomes[label].metrics for seed in self.seeds if (label := label_of(arm, seed)) in outcomes}
            for arm in self.arms
        }
        return StudyOutcome(outcomes, failures, results)

    def records_of(self, job: Job, runs: str | Path) -> Path:
        """The folder of a run's records inside ``runs``."""
        experiment = job.experiment
        return self.folder(runs) / f"{str(experiment.arm).replace('/', '-')}-seed{experiment.config.get('seed', 0)}"

    def late(self, runs: str | Path) -> str:
        """What is to be said where the claims are younger than some of the results; else empty."""
        seeds = late(self.folder(runs), self.base.config, self.seeds, WITHOUT_EFFECT)
        told = ", ".join(map(str, seeds))
        return f"! claims were changed after seeds {told} had been run: judge them on others" if seeds else ""

    def verdicts(self, outcome: StudyOutcome) -> list[Verdict]:
        """Raises ``InputError`` for a claim on what nothing measured."""
        try:
            if self.looks:
                found = judge_at_looks(self.claims, outcome.results, self.seeds, self.looks)
            else:
                found = judge_all(self.claims, outcome.results)
        except KdrunError as error:
            raise self.base.explain(error) from None
        if self.scale == "smoke":
            return [replace(v, outcome="undecided", note="scale smoke only tries all arms") for v in found]
        return found

    def agreements(self, outcome: StudyOutcome) -> list[Agreement]:
        """What was measured beside what the paper reports, of the numbers that are compared at this scale. Raises ``InputError`` for what nothing measured."""
        try:
            return agreements(self.claims, outcome.results, self.scale, self.looks)
        except KdrunError as error:
            raise self.base.explain(error) from None

    def ranking(self, outcome: StudyOutcome) -> tuple[list[str], list[list[str]]] | None:
        """Header and rows of the recipe's leaderboard, if it has one."""
        if self.board is None:
            return None
        costs = {
            str(j.experiment.arm): outcome.outcomes[j.label].costs for j in self.jobs if j.label in outcome.outcomes
        }
        return leaderboard(self.board, outcome.results, costs)


@contextlib.contextmanager
def _journalled(reporter: Reporter, study: Study, runs: str | Path | None) -> Iterator[Reporter]:
    """Beside ``reporter``, what happens is told in the study's folder, if it has one and anything is to be run."""
    if runs is None or all(session.executor.finished() for session in study.sessions.values()):
        yield reporter
        return
    folder = study.folder(runs)
    refuse_links(folder, Path(runs))
    ready_folder(folder, Path(runs), [JOURNAL])
    journal = Journal(folder, f"{study.base.recipe} at scale {study.scale}")
    try:
        yield Fan(reporter, journal)
    finally:
        journal.close()


def _arms(base: Experiment, wanted: Sequence[str] | None) -> list[str]:
    arms = list(base.config.get("arms") or {})
    if not arms:
        raise InputError(f"recipe '{base.recipe}' has no arms: nothing to compare; use kdrun run", key="arms")
    for arm in wanted or ():
        if arm not in arms:
            raise InputError(
                f"recipe '{base.recipe}' has no arm '{arm}'{nearest(arm, arms)}; it has: {', '.join(arms)}"
            )
    return arms if wanted is None else list(wanted)


def _seeds(given: Any, base: Experiment) -> list[int]:
    """``seeds=5`` counts from the recipe's first seed; ``seeds=[3,7]`` names them."""
    value: Any = given if given is not None else base.config.get("seeds", 3)
    try:
        first = int(base.config.get("seed", 0))
        if any(isinstance(v, bool) or not isinstance(v, int) for v in (value if isinstance(value, list) else [value])):
            raise TypeError
        refuse_beyond("seeds", len(value) if isinstance(value, list) else value, "seeds", key="seeds")
        seeds = list(dict.fromkeys(value)) if isinstance(value, list) else list(range(first, first + value))
    except (ValueError, TypeError):
        raise InputError(f"seeds is a number or a list of numbers, got {value!r}", key="seeds") from None
    if any(not 0 <= seed < 2**63 for seed in seeds):
        raise InputError("a seed is a number from 0 to 2^63 - 1", key="seeds")
    if not seeds:
        raise InputError("at least one seed is needed", key="seeds")
    return seeds


def _refuse_looked_at(base: Experiment, seeds: Sequence[int]) -> None:
    """Seeds by which the miniature was made judge no claim."""
    seen = [seed for seed in seeds if base.was_looked_at(seed)]
    if base.claims and seen:
        told = ", ".join(map(str, seen))
        raise base.explain(
            InputError(
                f"the recipe was made looking at seeds {told}: judge its claims on others, as by seed=1000",
                key="looked_at",
            )
        )


def _refuse_one_method(base: Experiment, overrides: Sequence[Override]) -> None:
    """Where arms choose options of a group, the user's choice would make them one run."""
    for override in overrides:
        choosing = [name for name, arm in (base.config.get("arms") or {}).items() if override.path in (arm or {})]
        if isinstance(override.value, str) and override.path in base.choices and choosing:
            raise InputError(
                f"arms choose their own '{override.path}' ({', '.join(choosing[:4])}): with {override.key} all would be "
                f"one run; kdrun run {base.recipe} {override.key} runs it once"
            )
