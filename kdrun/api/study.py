"""A study: the arms of a recipe over several seeds, checked as a whole, run, and judged."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kdrun.claims import Verdict, check_claims, check_measured, judge_all, judge_at_looks
from kdrun.claims.values import Results
from kdrun.config.compose import Composer
from kdrun.config.experiment import Experiment, Selection
from kdrun.config.layers import COMMAND_LINE, Override
from kdrun.engine.jobs import Job
from kdrun.engine.session import Outcome, Session
from kdrun.engine.sweep import sessions_of, sweep
from kdrun.errors import InputError, KdrunError, RunError, nearest
from kdrun.graph.columns import labels
from kdrun.limits import refuse_beyond
from kdrun.report.leaderboard import check_leaderboard, check_ranked, leaderboard
from kdrun.runtime.progress import Reporter

__all__ = ["Study", "StudyOutcome", "label_of"]

WITHOUT_EFFECT = ("store", "runs", "plugins", "tracker", "launcher", "hardware", "checkpoint_seconds")
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
    looks: tuple[int, ...] = ()
    """The numbers of seeds at which claims are judged, where that is done more than once."""

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
        _refuse_one_method(base, selection.overrides)
        board = _checked_board(base, chosen)
        jobs = [
            Job(label_of(arm, seed), e) for seed, row in composer.grid(chosen, seeds, scale) for arm, e in row.items()
        ]
        sessions = sessions_of(jobs)
        claims = {} if wanted is not None else base.claims
        measured = {arm: labels(sessions[label_of(arm, seeds[0])].graph) for arm in chosen}
        try:
            check_measured(claims, measured)
            if board is not None:
                check_ranked(board, measured)
        except KdrunError as error:
            raise base.explain(error) from None
        return cls(base, scale, chosen, seeds, jobs, sessions, claims, board, composer.left_out)

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

    def run(self, reporter: Reporter, workers: int | None, runs: str | Path | None = None) -> StudyOutcome:
        """Run what the store does not hold, in ``workers`` processes, with records in ``runs`` if it is given.

        Raises ``RunError`` if every run failed.
        """
        jobs = self.jobs if runs is None else [replace(j, records=self._records(j, runs)) for j in self.jobs]
        outcomes, failures = sweep(jobs, self.sessions, workers=workers, reporter=reporter)
        if not outcomes:
            label, first = next(iter(failures.items()))
            raise RunError(f"all {len(self.jobs)} runs failed; the first is {label}: {first}")
        results = {
            arm: {seed: outcomes[label].metrics for seed in self.seeds if (label := label_of(arm, seed)) in outcomes}
            for arm in self.arms
        }
        return StudyOutcome(outcomes, failures, results)

    def _records(self, job: Job, runs: str | Path) -> Path:
        experiment = job.experiment
        return self.folder(runs) / f"{str(experiment.arm).replace('/', '-')}-seed{experiment.config.get('seed', 0)}"

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

    def ranking(self, outcome: StudyOutcome) -> tuple[list[str], list[list[str]]] | None:
        """Header and rows of the recipe's leaderboard, if it has one."""
        if self.board is None:
            return None
        costs = {
            str(j.experiment.arm): outcome.outcomes[j.label].costs for j in self.jobs if j.label in outcome.outcomes
        }
        return leaderboard(self.board, outcome.results, costs)


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
        raise InputError(f"seeds is a number or a list of numbers, got {given!r}", key="seeds") from None
    if not seeds:
        raise InputError("at least one seed is needed", key="seeds")
    return seeds


def _refuse_one_method(base: Experiment, overrides: Sequence[Override]) -> None:
    """Where arms choose options of a group, the user's choice would make them one run."""
    for override in overrides:
        choosing = [name for name, arm in (base.config.get("arms") or {}).items() if override.path in (arm or {})]
        if isinstance(override.value, str) and override.path in base.choices and choosing:
            raise InputError(
                f"arms choose their own '{override.path}' ({', '.join(choosing[:4])}): with {override.key} all would be "
                f"one run; kdrun run {base.recipe} {override.key} runs it once"
            )


def _checked_board(base: Experiment, arms: Sequence[str]) -> Mapping[str, Any] | None:
    """The recipe's leaderboard, unless the arm that it compares with was left out. Raises for it and for the claims."""
    try:
        check_claims(base.claims, list(base.config["arms"]))
        content = base.config.get("leaderboard")
        if content is None:
            return None
        check_leaderboard(content, list(base.config["arms"]))
    except KdrunError as error:
        raise base.explain(error) from None
    return content if content["against"] in arms else None
