"""What a reproduction gave: means of all arms, verdicts on the claims, a leaderboard, and the records of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from html import escape
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from kdrun.api.finished import Run
from kdrun.api.frames import OnDemand, data_frame
from kdrun.api.study import Study, StudyOutcome, label_of
from kdrun.claims import Agreement, Rival, Verdict, claimed_metrics, unclaimed_winners
from kdrun.claims.values import Results
from kdrun.config.writing import yaml_text
from kdrun.engine.budgets import Budget
from kdrun.engine.reached import Reached
from kdrun.engine.records import environment, ready_folder, tidy_records, write_record
from kdrun.errors import InputError, KdrunError
from kdrun.report.budgets import budget_table, mean_budget
from kdrun.report.page import Page, write_page
from kdrun.report.tables import (
    agreement_lines,
    arm_table,
    best_arm_line,
    headline,
    html_table,
    rival_lines,
    text_table,
    verdict_lines,
)
from kdrun.runtime.files import refuse_links

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Reproduction"]

STUDY_RECORDS = ("results.json", "environment.json", "config.yaml", "curves.json", "report.html")
"""What a study leaves in its folder, beside the folders of its runs."""


@dataclass(frozen=True, repr=False, eq=False)
class Reproduction:
    """The runs of a study and the verdicts on its claims.

    As text: the table of what the claims name, verdicts, and the leaderboard. ``ranking`` is the leaderboard's header and rows,
    ``page`` the HTML page, if it was written.
    """

    study: Study
    outcome: StudyOutcome
    verdicts: Sequence[Verdict]
    ranking: tuple[list[str], list[list[str]]] | None
    page: Path | None = None

    @classmethod
    def of(cls, study: Study, outcome: StudyOutcome) -> Reproduction:
        """Judge what was measured. Raises ``InputError`` for a claim on what nothing measured."""
        return cls(study, outcome, study.verdicts(outcome), study.ranking(outcome))

    @property
    def results(self) -> Results:
        """arm → seed → metric → value."""
        return self.outcome.results

    @property
    def agreements(self) -> list[Agreement]:
        """What was measured beside the numbers that the paper reports at this scale."""
        return self.study.agreements(self.outcome)

    @property
    def rivals(self) -> list[Rival]:
        """Arms that are ahead of the method on a main claim's metric and that no claim reads."""
        return unclaimed_winners(self.study.claims, self.results)

    @property
    def budgets(self) -> DataFrame:
        """What the models were given that each arm is judged by, in the mean over seeds: a row an arm; see ``engine.budgets``."""
        return data_frame([{"arm": arm, **asdict(budget)} for arm, budget in self._budgets().items()], index="arm")

    def _budgets(self) -> dict[str, Budget]:
        """By arm, of those that deploy a model."""
        found: dict[str, list[Budget]] = {arm: [] for arm in self.study.arms}
        for job in self.study.jobs:
            outcome = self.outcome.outcomes.get(job.label)
            if outcome is not None and outcome.budget is not None:
                found[str(job.experiment.arm)].append(outcome.budget)
        means = {arm: mean_budget(several) for arm, several in found.items()}
        return {arm: budget for arm, budget in means.items() if budget is not None}

    def _budget_table(self) -> tuple[list[str], list[list[str]]] | None:
        board = self.study.board
        return budget_table(self._budgets(), self.study.base.claims, None if board is None else str(board["against"]))

    @property
    def failures(self) -> Mapping[str, KdrunError]:
        """The errors of runs that failed, by arm and seed in words."""
        return self.outcome.failures

    @property
    def tables(self) -> OnDemand[DataFrame]:
        """By arm, a data frame of all metrics, a row a seed."""
        return OnDemand(self.study.arms, self._table, "arm")

    def _table(self, arm: str) -> DataFrame:
        return data_frame([{"seed": seed, **metrics} for seed, metrics in self.results[arm].items()], index="seed")

    @property
    def means(self) -> DataFrame:
        """Means over seeds: a row an arm, a column a metric."""
        return data_frame([{"arm": arm, **self._means(arm)} for arm in self.study.arms], index="arm")

    def _means(self, arm: str) -> dict[str, float]:
        runs = list(self.results[arm].values())
        names = dict.fromkeys(name for metrics in runs for name in metrics)
        return {name: fmean(metrics[name] for metrics in runs if name in metrics) for name in names}

    def _flags(self) -> list[str]:
        """A line for each arm that is ahead and that no claim reads."""
        return rival_lines(self.rivals, self.study.base.exploratory)

    def _tuned(self) -> list[str]:
        """What was tuned, in a line."""
        return [self.study.chosen.line()] if self.study.chosen is not None else []

    def run(self, arm: str, seed: int) -> Run:
        """One of the runs. Raises ``InputError`` if there was none, and what it failed with if it failed."""
        label = label_of(arm, seed)
        if label in self.failures:
            raise self.failures[label]
        if label not in self.outcome.outcomes:
            arms, seeds = ", ".join(self.study.arms), ", ".join(map(str, self.study.seeds))
            raise InputError(f"there was no run of arm '{arm}' at seed {seed}; arms: {arms}; seeds: {seeds}")
        return Run(self.study.sessions[label], self.outcome.outcomes[label])

    def _heading(self) -> str:
        seeds = ", ".join(map(str, self.study.seeds))
        return f"{self.study.base.recipe} at scale {self.study.scale}, seeds {seeds}"

    @property
    def _claimed(self) -> list[str]:
        return claimed_metrics(self.study.base.claims)

    def __str__(self) -> str:
        told = [headline(self.results, self.verdicts, self._claimed), *self._flags(), *agreement_lines(self.agreements)]
        shown = "\n".join([*told, *self._tuned()])
        board = f"\n\n{text_table(*self.ranking)}" if self.ranking is not None else ""
        objective = best_arm_line(self._reached())
        return f"{self._heading()}\n\n{shown}{board}" + (f"\n\n{objective}" if objective else "")

    def _reached(self) -> dict[str, list[Reached]]:
        """By arm, what was reached of the objective at each seed."""
        found: dict[str, list[Reached]] = {arm: [] for arm in self.study.arms}
        for job in self.study.jobs:
            outcome = self.outcome.outcomes.get(job.label)
            if outcome is not None and outcome.reached is not None:
                found[str(job.experiment.arm)].append(outcome.reached)
        return found

    def __repr__(self) -> str:
        return "\n".join([str(self), *self._complaints()])

    def _repr_html_(self) -> str:
        pieces = [f"<div>{escape(self._heading())}</div>", html_table(*arm_table(self.results, self._claimed))]
        told = "\n".join([*verdict_lines(self.verdicts), *self._flags(), *agreement_lines(self.agreements)])
        pieces += [f"<pre>{escape(told)}</pre>"] if told else []
        pieces += [html_table(*self.ranking)] if self.ranking is not None else []
        return "".join([*pieces, *(f"<div>{escape(line)}</div>" for line in self._complaints())])

    def _complaints(self) -> list[str]:
        """Runs that failed, and settings that some arms do not have."""
        failed = [f"{label} failed: {failure}" for label, failure in self.failures.items()]
        silent = [f"{text} means nothing in arm {', '.join(arms)}" for text, arms in self.study.left_out.items()]
        return [*silent, *failed]

    def written(self, runs: str | Path) -> Reproduction:
        """The same, with records and page in a folder of the recipe's and scale's inside ``runs``. Raises ``StoreError``."""
        return replace(self, page=self._write(runs))

    def _write(self, runs: str | Path) -> Path:
        base, scale = self.study.base, self.study.scale
        folder, late = self.study.folder(runs), self.study.late(runs)
        refuse_links(folder, Path(runs))
        record = {
            "recipe": base.recipe,
            "scale": scale,
            "results": self.results,
            "verdicts": [asdict(v) for v in self.verdicts],
            "tuned": None if self.study.chosen is None else self.study.chosen.record(),
            "reported": [asdict(one) for one in self.agreements],
            "arms": arm_table(self.results, self._claimed),
            "leaderboard": self.ranking,
            "budgets": {arm: asdict(budget) for arm, budget in self._budgets().items()},
            "budget_table": self._budget_table(),
            "looks": self.study.looks,
            "unclaimed": self._flags(),
            "late": late,
        }
        ready_folder(folder, Path(runs), STUDY_RECORDS)
        tidy_records(folder, write_record(folder / "results.json", record))
        write_record(folder / "environment.json", environment())
        write_record(folder / "config.yaml", yaml_text(base.config))
        curves = self._curves()
        write_record(folder / "curves.json", curves)
        page = Page.of(
            base,
            scale=scale,
            results=self.results,
            verdicts=self.verdicts,
            flags=[*self._flags(), *self._tuned(), *filter(None, [late])],
            curves=curves,
            ranking=self.ranking,
            budgets=self._budget_table(),
            agreements=agreement_lines(self.agreements),
            shown=self._shown(),
        )
        write_page(folder / "report.html", page)
        return folder / "report.html"

    def _curves(self) -> dict[str, dict[int, list[dict[str, Any]]]]:
        """By arm and seed, the training logs."""
        found: dict[str, dict[int, list[dict[str, Any]]]] = {}
        for job in self.study.jobs:
            if job.label in self.outcome.outcomes:
                seed = int(job.experiment.config["seed"])
                found.setdefault(str(job.experiment.arm), {})[seed] = self.outcome.outcomes[job.label].curves
        return found

    def _shown(self) -> dict[str, tuple[int, Mapping[str, Any]]]:
        """By arm, the first seed whose run gives something to be shown, and what."""
        found: dict[str, tuple[int, Mapping[str, Any]]] = {}
        for job in self.study.jobs:
            outcome = self.outcome.outcomes.get(job.label)
            if outcome is not None and outcome.shown:
                found.setdefault(str(job.experiment.arm), (int(job.experiment.config["seed"]), outcome.shown))
        return found
