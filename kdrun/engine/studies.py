"""A study of Optuna's in the store: which values were tried and what they gave, kept so that a search goes on where it stopped.

A trial is drawn from a seed of its own and from what the study holds, so that a search that was cut off goes on as if it had not been.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import platform
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kdrun.config.search_space import Knob
from kdrun.engine.records import is_running
from kdrun.errors import InputError, nearest
from kdrun.grammar.objective import Objective
from kdrun.limits import refuse_beyond
from kdrun.randomness import seed_of

__all__ = ["PRUNERS", "SAMPLERS", "Curve", "Study", "Trial", "optuna", "storage_of"]

SAMPLERS = ("tpe", "random", "grid", "nsgaii", "cmaes", "gp")
"""How values are chosen: by a tree of Parzen estimators, at random, each combination once, by non-dominated sorting of generations,
by adapting a covariance matrix (needs the package cmaes), or by a Gaussian process."""

PRUNERS = ("median", "hyperband", "halving", "none")
"""What ends a trial early: less than the median of others at that epoch, or falling behind in brackets of growing length."""


@dataclass
class Trial:
    """``state`` is running, finished, pruned or failed; ``values`` are those of the objectives, in their order."""

    number: int
    params: dict[str, Any]
    state: str = "running"
    values: list[float] = field(default_factory=list)
    error: str = ""
    epochs: int = 0
    """How many times its validation was told."""


def optuna() -> Any:
    """The library, without its log. Raises ``InputError`` naming the extra where it is missing."""
    try:
        import optuna as found
    except ImportError as error:
        raise InputError(f"sweeper=optuna needs an extra: pip install 'kdrun[optuna]' ({error})") from None
    found.logging.set_verbosity(found.logging.ERROR)
    return found


class Study:
    """A study in a file, which several processes may use at once."""

    def __init__(
        self,
        path: Path,
        objectives: Sequence[Objective],
        knobs: Sequence[Knob],
        *,
        sampler: str,
        pruner: str,
        seed: int,
    ) -> None:
        """Raises ``InputError`` for a sampler or a pruner that there is not, and for a study of other objectives."""
        for name, known, what in ((sampler, SAMPLERS, "sampler"), (pruner, PRUNERS, "pruner")):
            if name not in known:
                raise InputError(
                    f"there is no {what} '{name}'{nearest(name, known)}; there are: {', '.join(known)}",
                    key=f"hydra.sweeper.{what}",
                )
        self.path, self.objectives, self.knobs, self.seed = path, list(objectives), list(knobs), seed
        self.sampler = sampler
        self.grid = self._combinations() if sampler == "grid" else None
        _ = self._sampler(0)
        directions = [one.goal for one in objectives]
        with _quiet():
            self._study = optuna().create_study(
                storage=storage_of(path), study_name=path.stem, directions=directions, load_if_exists=True
            )
        if [d.name.lower() for d in self._study.directions] != directions:
            raise InputError(
                f"the study {path.stem} is one of other objectives: name another", key="hydra.sweeper.study_name"
            )

    def _combinations(self) -> list[dict[str, Any]]:
        values = [knob.values() for knob in self.knobs]
        refuse_beyond("jobs", math.prod(map(len, values)), "combinations of a grid", key="hydra.sweeper.sampler")
        names = [knob.key for knob in self.knobs]
        return [dict(zip(names, row, strict=True)) for row in itertools.product(*values)]

    def _sampler(self, number: int) -> Any:
        """What chooses the values of a trial: made anew for each, of a seed of its own."""
        samplers, seed = optuna().samplers, seed_of(self.seed, "trial", number) % 2**32
        makers = {"tpe": "TPESampler", "nsgaii": "NSGAIISampler", "cmaes": "CmaEsSampler", "gp": "GPSampler"}
        try:
            return getattr(samplers, makers.get(self.sampler, "RandomSampler"))(seed=seed)
        except ImportError as error:
            raise InputError(
                f"sampler {self.sampler} needs a package: pip install {self.sampler} ({error})",
                key="hydra.sweeper.sampler",
            ) from None

    def interrupted(self) -> list[Trial]:
        """Trials that were begun by processes that are gone: they go on, under their numbers."""
        running = [f for f in self._study.get_trials(deepcopy=False) if f.state.name == "RUNNING"]
        return [self._given(f.number) for f in running if not is_running({"machine": platform.node(), **f.user_attrs})]

    def ask(self) -> Trial | None:
        """The next trial; None where each combination of a grid has been tried."""
        with _quiet():
            trials = self._study.get_trials(deepcopy=False)
            if self.grid is not None and not any(f.state.name == "WAITING" for f in trials):
                if len(trials) >= len(self.grid):
                    return None
                self._study.enqueue_trial(self.grid[len(trials)])
            self._study.sampler = optuna().samplers.RandomSampler()
            return self._given(self._study.ask().number)

    def _given(self, number: int) -> Trial:
        """A trial of the study with its values, those that it lacks drawn now."""
        with _quiet():
            self._study.sampler = self._sampler(number)
            trial = self._opened(number)
            for name, value in (("process", os.getpid()), ("machine", platform.node())):
                trial.set_user_attr(name, value)
            try:
                return Trial(number, {knob.key: _drawn(trial, knob) for knob in self.knobs})
            except ValueError as error:
                raise InputError(
                    f"the study {self.path.stem} is one of other settings ({error}): name another",
                    key="hydra.sweeper.study_name",
                ) from None

    def _opened(self, number: int) -> Any:
        identity = self._study.get_trials(deepcopy=False)[number]._trial_id
        return optuna().trial.Trial(self._study, identity)

    def let_go(self, trials: Sequence[Trial]) -> None:
        """Trials that are interrupted: whoever comes next goes on with them."""
        with contextlib.suppress(Exception), _quiet():
            for trial in trials:
                if trial.state == "running":
                    self._opened(trial.number).set_user_attr("process", None)

    def tell(self, trial: Trial) -> None:
        """Keep how a trial ended: a number that is none counts as a failure."""
        states = optuna().trial.TrialState
        if trial.state == "finished" and not all(map(math.isfinite, trial.values)):
            trial.state, trial.error = "failed", "an objective is no number"
        with _quiet():
            if trial.error:
                self._opened(trial.number).set_user_attr("error", trial.error)
            if trial.state == "finished":
                self._study.tell(trial.number, trial.values)
            else:
                self._study.tell(trial.number, state=states.PRUNED if trial.state == "pruned" else states.FAIL)

    def trials(self) -> list[Trial]:
        """All trials, by number."""
        states = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "failed"}
        return [
            Trial(
                frozen.number,
                dict(frozen.params),
                states.get(frozen.state.name, "running"),
                list(frozen.values or []) if frozen.state.name == "COMPLETE" else [],
                str(frozen.user_attrs.get("error", "")),
                len(frozen.intermediate_values),
            )
            for frozen in self._study.get_trials(deepcopy=False)
        ]

    def best(self) -> list[int]:
        """The numbers of the best trials: the first of the best ones, or with several objectives those that no other is better than
        in all of them."""
        finished = [trial for trial in self.trials() if trial.state == "finished"]
        signs = [-1 if one.goal == "minimize" else 1 for one in self.objectives]
        scores = {trial.number: [s * v for s, v in zip(signs, trial.values, strict=True)] for trial in finished}
        if len(signs) == 1:
            return [max(scores, key=lambda number: (scores[number], -number))] if scores else []
        return [
            number for number, own in scores.items() if not any(_dominates(other, own) for other in scores.values())
        ]


class Curve:
    """The validation of one trial while it trains, told to its study, which may say that it is to end."""

    def __init__(self, path: Path, number: int, pruner: str) -> None:
        library = optuna()
        with _quiet():
            self._study = library.load_study(
                study_name=path.stem,
                storage=storage_of(path),
                sampler=library.samplers.RandomSampler(),
                pruner=_pruner(pruner),
            )
            identity = self._study.get_trials(deepcopy=False)[number]._trial_id
            self._trial = library.trial.Trial(self._study, identity)
        self.goal = self._study.direction.name.lower()

    def falls_behind(self, epoch: int, score: float) -> bool:
        """Tell the score after an epoch; whether others were so much better there that the trial is to end."""
        with _quiet():
            self._trial.report(score, epoch)
            return bool(self._trial.should_prune())


def storage_of(path: Path) -> Any:
    """The file as Optuna writes it: a line a change, under a lock that several processes share. Raises ``InputError`` for another file."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    try:
        return JournalStorage(JournalFileBackend(str(path), lock_obj=JournalFileOpenLock(str(path))))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is no study ({error}): delete it, or name another by hydra.sweeper.study_name"
        ) from None


def _pruner(name: str) -> Any:
    pruners = optuna().pruners
    makers = {"median": "MedianPruner", "hyperband": "HyperbandPruner", "halving": "SuccessiveHalvingPruner"}
    return getattr(pruners, makers.get(name, "NopPruner"))()


def _drawn(trial: Any, knob: Knob) -> Any:
    if knob.choices:
        return trial.suggest_categorical(knob.key, list(knob.choices))
    if knob.whole:
        return trial.suggest_int(knob.key, int(knob.low), int(knob.high), step=int(knob.step or 1), log=knob.log)
    return trial.suggest_float(knob.key, knob.low, knob.high, step=knob.step, log=knob.log)


def _dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(a >= b for a, b in zip(one, other, strict=True)) and list(one) != list(other)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
