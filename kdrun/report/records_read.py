"""What a site shows of reproductions and runs, read from their records alone: nothing is computed, no plug-in is imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kdrun.config.files import read
from kdrun.engine.query import RecordedRun, flat
from kdrun.engine.records import read_if_sound, read_record
from kdrun.errors import KdrunError
from kdrun.grammar.nodes import Graph

__all__ = ["OF_THE_PLACE", "OF_THE_WHOLE", "StudyRecord", "differences", "mapping_in", "studies_in"]

OF_THE_WHOLE = (
    "arms",
    "scales",
    "claims",
    "paper",
    "notes",
    "looked_at",
    "seeds",
    "exploratory",
    "leaderboard",
    "tune",
)
"""What a recipe says that is no setting of a run."""

OF_THE_PLACE = ("seed", "store", "runs", "plugins", "tracker", "checkpoint_seconds")


@dataclass(frozen=True)
class StudyRecord:
    """A reproduction's folder, what it holds, and its runs in the order of arms and seeds."""

    folder: Path
    result: Mapping[str, Any]
    config: Mapping[str, Any]
    curves: Mapping[str, Any]
    environment: Mapping[str, Any]
    runs: Sequence[RecordedRun] = field(default_factory=list)

    @property
    def recipe(self) -> str:
        return str(self.result.get("recipe", self.folder.parent.name))

    @property
    def family(self) -> str:
        """The folder that the recipe stands in."""
        return self.recipe.partition("/")[0] if "/" in self.recipe else "own"

    @property
    def paper(self) -> Mapping[str, Any]:
        found = self.config.get("paper")
        return found if isinstance(found, Mapping) else {}

    @property
    def results(self) -> dict[str, dict[int, dict[str, float]]]:
        """arm → seed → metric → value."""
        found = self.result.get("results")
        arms = found if isinstance(found, Mapping) else {}
        told = self.config.get("arms")
        order = [*(a for a in told if a in arms), *arms] if isinstance(told, Mapping) else list(arms)  # the recipe's
        return {
            str(arm): {int(s): {str(n): float(v) for n, v in m.items()} for s, m in arms[arm].items()}
            for arm in dict.fromkeys(order)
        }

    @property
    def seconds(self) -> float:
        """What its runs were computed in; what came from the store took none."""
        return float(sum(run.about()["seconds"] for run in self.runs))

    def of_arm(self, arm: str) -> RecordedRun | None:
        """The first run of an arm."""
        return next((run for run in self.runs if run.record.get("arm") == arm), None)

    def graphs(self) -> dict[str, Graph]:
        """By arm, the graph that its configuration describes; without those that cannot be read here, as with a plug-in's parts."""
        from kdrun.graph.check import check

        found = {}
        for arm in self.results:
            run = self.of_arm(arm)
            try:
                content = read(run.folder / "config.yaml").content if run is not None else None
                found.update({arm: check(content)} if content else {})
            except (KdrunError, RecursionError, LookupError, TypeError, ValueError):
                continue
        return found

    def told_config(self) -> dict[str, Any]:
        """The configuration without what is said of the whole, and without templates of steps that no stage of any arm uses."""
        graphs = [self.config.get("graph"), *(run.settings for run in self.runs)]
        used = {str(v) for graph in graphs for k, v in flat(graph).items() if k.rpartition(".")[2] in ("step", "like")}
        found = {k: v for k, v in self.config.items() if k not in (*OF_THE_WHOLE, *OF_THE_PLACE)}
        steps = found.get("steps")
        if isinstance(steps, Mapping):
            kept = {name: step for name, step in steps.items() if name in used}
            found = {**found, "steps": kept} if kept else {k: v for k, v in found.items() if k != "steps"}
        return found


def studies_in(runs: Path) -> list[StudyRecord]:
    """The reproductions under a folder of records, by recipe; those whose results cannot be read are left out."""
    found = []
    for path in sorted(runs.glob("*/*/results.json")):
        folder = path.parent
        if folder.is_symlink():
            continue
        result = mapping_in(path)
        if isinstance(result.get("results"), Mapping) and _is_sound(result["results"]):
            config = _config(folder)
            found.append(
                StudyRecord(
                    folder,
                    result,
                    config,
                    mapping_in(folder / "curves.json"),
                    mapping_in(folder / "environment.json"),
                    _runs(folder, list(result["results"])),
                )
            )
    return found


def _is_sound(results: Mapping[str, Any]) -> bool:
    """Whether it is arm → seed → metric → number."""
    return all(
        isinstance(seeds, Mapping)
        and all(
            str(seed).isdecimal()
            and isinstance(metrics, Mapping)
            and all(isinstance(v, int | float) for v in metrics.values())
            for seed, metrics in seeds.items()
        )
        for seeds in results.values()
    )


def mapping_in(path: Path) -> Mapping[str, Any]:
    """The content of a JSON file that is a mapping; an empty one for what is none."""
    found = read_if_sound(path)
    return found if isinstance(found, Mapping) else {}


def _config(folder: Path) -> Mapping[str, Any]:
    try:
        return read(folder / "config.yaml").content
    except (KdrunError, RecursionError):
        return {}


def _runs(folder: Path, arms: Sequence[str]) -> list[RecordedRun]:
    found = [
        RecordedRun(path.parent, read_record(path.parent))
        for path in sorted(folder.glob("*/result.json"))
        if not path.parent.is_symlink()
    ]
    order = {arm: number for number, arm in enumerate(arms)}

    def place(run: RecordedRun) -> tuple[int, int]:
        seed = run.record.get("seed")
        return order.get(str(run.record.get("arm")), len(order)), seed if isinstance(seed, int) else -1

    return sorted(found, key=place)


def differences(runs: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: a row a setting in which named runs differ, a column a run; of each its flat settings."""
    settings = {
        name: {k: v for k, v in own.items() if k.split(".")[0] not in (*OF_THE_WHOLE, *OF_THE_PLACE)}
        for name, own in runs.items()
    }
    keys = list(dict.fromkeys(key for found in settings.values() for key in found))
    rows = []
    for key in keys:
        values = [_shown(found.get(key)) for found in settings.values()]
        if len(set(values)) > 1:
            rows.append([key, *values])
    return ["setting", *runs], rows


def _shown(value: Any) -> str:
    return "" if value is None else str(value)
