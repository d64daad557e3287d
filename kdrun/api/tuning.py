"""Tuning a setting alike in all arms, on validation rows, before anything is judged."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from kdrun.config.compose import Composer
from kdrun.config.experiment import Experiment
from kdrun.config.layers import COMMAND_LINE, Override
from kdrun.engine.sweep import By
from kdrun.errors import InputError, KdrunError, RunError
from kdrun.grammar.measurements import in_table, look_up
from kdrun.grammar.tuning import Tuning, parse_tuning
from kdrun.graph.check import check
from kdrun.graph.columns import labels
from kdrun.graph.provenance import held_out_behind
from kdrun.report.tables import number
from kdrun.runtime.progress import Reporter

__all__ = ["Tuned", "checked_tuning", "tune"]


@dataclass(frozen=True)
class Tuned:
    """``chosen``: by arm, its best value; ``means``: by arm, what each value came to, in their order (NaN where a run failed)."""

    tuning: Tuning
    chosen: Mapping[str, Any]
    means: Mapping[str, tuple[float, ...]]

    def line(self) -> str:
        """``tuned optimizer.lr on valid.accuracy, seeds 0, 1: kd 0.1 (0.9431), scratch 0.5 (0.9312)``."""
        tuning = self.tuning
        best = {arm: self.means[arm][tuning.values.index(value)] for arm, value in self.chosen.items()}
        told = ", ".join(f"{arm} {value} ({number(best[arm])})" for arm, value in self.chosen.items())
        return f"tuned {tuning.knob} on {tuning.objective.metric}, seeds {', '.join(map(str, tuning.seeds))}: {told}"

    def overrides(self) -> dict[str, Override]:
        """What lies over each arm."""
        return {arm: _override(self.tuning, value) for arm, value in self.chosen.items()}

    def record(self) -> dict[str, Any]:
        """The same as plain data."""
        tuning = self.tuning
        return {
            "knob": tuning.knob,
            "values": list(tuning.values),
            "objective": str(tuning.objective),
            "seeds": list(tuning.seeds),
            "chosen": dict(self.chosen),
            "means": {arm: [None if math.isnan(mean) else mean for mean in row] for arm, row in self.means.items()},
        }


def checked_tuning(composer: Composer, base: Experiment, seeds: Sequence[int] = ()) -> Tuning | None:
    """What a recipe tunes at its scale; None if nothing.

    Raises ``InputError``, with file and line, for what cannot be tuned: a setting that the user or an arm gives itself, or a metric that an
    arm does not measure or that rows held out have a part in; and where ``seeds``, which judge claims, are among those of tuning.
    """
    try:
        tuning = parse_tuning(base.config.get("tune"), list(base.config.get("arms") or {}))
        if tuning is None:
            return None
        again = [str(seed) for seed in seeds if seed in tuning.seeds]
        if again:
            raise InputError(
                f"seeds {', '.join(again)} are tuned at: judge claims on others, as by seed=1000", key="tune.seeds"
            )
        _refuse_given(composer, tuning)
        for arm in tuning.arms:
            own = [
                row
                for row in composer.words(arm, base.scale)
                if row.layer == f"arm {arm}" or f".arms.{arm}." in row.key
            ]
            if any(_gives(row, tuning.knob) for row in own):
                raise InputError(
                    f"arm '{arm}' says {tuning.knob} itself: name the arms to tune, without it, in tune.arms",
                    key="tune.arms",
                )
            _narrowed(
                next(iter(_experiments(composer, tuning, [arm], base.scale or "small", tuning.values[:1])))[1], tuning
            )
    except KdrunError as error:
        raise base.explain(error) from None
    return tuning


def _refuse_given(composer: Composer, tuning: Tuning) -> None:
    if any(_gives(row, tuning.knob) for row in composer.overrides if row.layer == COMMAND_LINE):
        raise InputError(f"{tuning.knob} is tuned: leave it out, or say tune=null", key="tune.knob")


def _gives(row: Override, knob: str) -> bool:
    """Whether an override sets the knob, or a mapping around it."""
    if row.path == knob:
        return True
    value: Any = row.value
    if not knob.startswith(f"{row.path}."):
        return False
    for piece in knob.removeprefix(f"{row.path}.").split("."):
        if not isinstance(value, Mapping) or piece not in value:
            return False
        value = value[piece]
    return True


def _experiments(
    composer: Composer, tuning: Tuning, arms: Sequence[str], scale: str, values: Sequence[Any]
) -> list[tuple[tuple[str, int, int], Experiment]]:
    """By arm, number of the value and seed, what is run."""
    found = []
    for i, value in enumerate(values):
        tried = replace(composer, tuned={arm: _override(tuning, value) for arm in arms}, left_out={})
        for seed, row in tried.grid(arms, tuning.seeds, scale):
            found += [((arm, i, seed), experiment) for arm, experiment in row.items()]
    return found


def _override(tuning: Tuning, value: Any) -> Override:
    return Override(tuning.knob, value, layer="tune", key="tune.knob")


def _narrowed(experiment: Experiment, tuning: Tuning) -> Experiment:
    """The experiment without the tables that do not say which value is best. Raises ``InputError`` for a metric that cannot."""
    config = {**experiment.config, "graph": dict(experiment.config["graph"]), "results": None, "objective": None}
    try:
        graph = check(config)
        look_up(
            tuning.objective.metric, labels(graph), what=f"arm '{experiment.arm}' measures no", key="tune.objective"
        )
        table = max((name for name in graph.targets if in_table(tuning.objective.metric, name)), key=len)
        path = held_out_behind(graph, config, table)
        if path:
            raise InputError(
                f"{tuning.objective.metric} is of rows that are held out to be judged: {path}; tune on others",
                key="tune.objective",
            )
        while others := [name for name in graph.targets if name != table and name in config["graph"]]:
            for name in others:
                del config["graph"][name]
            graph = check(config)
    except KdrunError as error:
        raise experiment.explain(error) from None
    return replace(experiment, config={**config, "objective": _stated(tuning)})


def _stated(tuning: Tuning) -> dict[str, Any]:
    return {"metric": tuning.objective.metric, "goal": tuning.objective.goal}


def tune(composer: Composer, tuning: Tuning, arms: Sequence[str], scale: str, reporter: Reporter, workers: By) -> Tuned:
    """Run all values in the arms that are tuned and that ``arms`` names, at the seeds of tuning, and choose; what the store holds is read.

    A value with which a run fails is not chosen; of equal ones the first is. Raises ``RunError`` where none is left.
    """
    from kdrun.engine.jobs import Job
    from kdrun.engine.sweep import sessions_of, sweep

    wanted = [arm for arm in arms if arm in tuning.arms]
    found = _experiments(composer, tuning, wanted, scale, tuning.values)
    narrow = _each_once(found, tuning)
    jobs = {place: Job(_label(place, tuning), narrow[place]) for place, _ in found}
    reporter.message(
        f"tuning {tuning.knob} on {tuning.objective.metric}: {len(tuning.values)} values in {len(wanted)} arms"
    )
    outcomes, failures = sweep(
        list(jobs.values()), sessions_of(list(jobs.values())), workers=workers, reporter=reporter
    )
    means = {
        arm: tuple(
            fmean(
                outcomes[label].metrics[tuning.objective.metric]
                if (label := jobs[arm, i, seed].label) in outcomes
                else math.nan
                for seed in tuning.seeds
            )
            for i in range(len(tuning.values))
        )
        for arm in wanted
    }
    chosen = {arm: _best(arm, row, tuning, failures) for arm, row in means.items()}
    return Tuned(tuning, chosen, means)


def _each_once(found: Sequence[tuple[tuple[str, int, int], Experiment]], tuning: Tuning) -> dict[Any, Experiment]:
    """Experiments with the one table that decides; graphs that seeds share stay shared, so that each is checked once."""
    graphs: dict[int, Any] = {}
    narrow = {}
    for place, experiment in found:
        shared = id(experiment.config["graph"])
        if shared not in graphs:
            graphs[shared] = _narrowed(experiment, tuning).config["graph"]
        changes = {"graph": graphs[shared], "results": None, "objective": _stated(tuning)}
        narrow[place] = replace(experiment, config={**experiment.config, **changes})
    return narrow


def _label(place: tuple[str, int, int], tuning: Tuning) -> str:
    arm, i, seed = place
    return f"[{arm} {tuning.knob}={tuning.values[i]} seed {seed}]"


def _best(arm: str, means: Sequence[float], tuning: Tuning, failures: Mapping[str, KdrunError]) -> Any:
    sign = -1 if tuning.objective.goal == "minimize" else 1
    there = [i for i, mean in enumerate(means) if not math.isnan(mean)]
    if not there:
        first = next((f"; the first: {error}" for label, error in failures.items() if label.startswith(f"[{arm} ")), "")
        raise RunError(f"with no value of {tuning.knob} do all runs of arm '{arm}' end well{first}")
    return tuning.values[max(there, key=lambda i: (sign * means[i], -i))]
