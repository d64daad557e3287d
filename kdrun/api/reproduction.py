"""What a reproduction gave: means of all arms, verdicts on the claims, a leaderboard, and the records of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from kdrun.api.study import Measured, Study
from kdrun.claims import Verdict, claimed_metrics
from kdrun.claims.verdicts import Results
from kdrun.engine.records import environment, write_record
from kdrun.errors import KdrunError
from kdrun.report.page import Page, write_page
from kdrun.report.tables import headline, text_table

__all__ = ["Reproduction"]


@dataclass(frozen=True)
class Reproduction:
    """The runs of a study and the verdicts. As text: the table of what the claims name, verdicts, and the leaderboard."""

    study: Study
    measured: Measured
    verdicts: Sequence[Verdict]
    ranking: tuple[list[str], list[list[str]]] | None

    @classmethod
    def of(cls, study: Study, measured: Measured) -> Reproduction:
        """Judge what was measured. Raises ``InputError`` for a claim on what nothing measured."""
        return cls(study, measured, study.verdicts(measured), study.ranking(measured))

    @property
    def results(self) -> Results:
        """arm → seed → metric → value."""
        return self.measured.results

    @property
    def failures(self) -> Mapping[str, KdrunError]:
        """The errors of runs that failed, by arm and seed in words."""
        return self.measured.failures

    def __str__(self) -> str:
        base, seeds = self.study.base, ", ".join(map(str, self.study.seeds))
        shown = headline(self.results, self.verdicts, claimed_metrics(base.claims))
        board = f"\n\n{text_table(*self.ranking)}" if self.ranking is not None else ""
        return f"{base.recipe} at scale {self.study.scale}, seeds {seeds}\n\n{shown}{board}"

    def write(self, runs: str | Path) -> Path:
        """Write the records and the page into a folder of the recipe's and scale's inside ``runs``; return the page's path."""
        base, scale = self.study.base, self.study.scale
        folder = Path(runs) / base.recipe.replace("/", "-") / f"reproduce-{scale}"
        record = {
            "recipe": base.recipe,
            "scale": scale,
            "results": self.results,
            "verdicts": [dataclasses.asdict(v) for v in self.verdicts],
            "leaderboard": self.ranking,
        }
        write_record(folder / "results.json", record)
        write_record(folder / "environment.json", environment())
        write_record(folder / "config.yaml", yaml.safe_dump(base.config, sort_keys=False))
        curves = self._curves()
        write_record(folder / "curves.json", curves)
        page = Page.of(
            base, scale=scale, results=self.results, verdicts=self.verdicts, curves=curves, ranking=self.ranking
        )
        write_page(folder / "report.html", page)
        return folder / "report.html"

    def _curves(self) -> dict[str, dict[int, list[dict[str, Any]]]]:
        """By arm and seed, the training logs."""
        found: dict[str, dict[int, list[dict[str, Any]]]] = {}
        for job in self.study.jobs:
            if job.label in self.measured.outcomes:
                seed = int(job.experiment.config["seed"])
                found.setdefault(str(job.experiment.arm), {})[seed] = self.measured.outcomes[job.label].curves
        return found
