"""``sweeper=optuna``: a sweeper of Hydra's whose jobs are the trials of a study in the store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from omegaconf import OmegaConf

from kdrun.config.experiment import Experiment
from kdrun.config.hydra_loader import experiment_of
from kdrun.config.search_space import Knob, parse_space
from kdrun.engine.pruning import stage_of
from kdrun.engine.session import Session
from kdrun.engine.studies import Study, Trial
from kdrun.engine.told import Told
from kdrun.errors import InputError, KdrunError
from kdrun.grammar.measurements import look_up
from kdrun.grammar.objective import Objective, parse_objective
from kdrun.graph.columns import labels, lowest
from kdrun.runtime.files import ensure_folder, refuse_links, store_errors

__all__ = ["Found", "OptunaSweeper"]

MOST_TRIALS = 100_000


@dataclass(frozen=True)
class Found:
    """What a search ended with: all trials of the study, and the numbers of the best ones."""

    objectives: Sequence[Objective]
    knobs: Sequence[Knob]
    trials: Sequence[Trial]
    best: Sequence[int]
    study: Path
    fixed: Sequence[str]


class OptunaSweeper(Sweeper):
    """Asks a study for values, launches jobs with them, and tells it what they gave, until it has ``n_trials`` trials."""

    def __init__(self) -> None:
        self.settings: Mapping[str, Any] = {}
        self.hydra_context: Any = None
        self.config: Any = None
        self.launcher: Any = None

    def setup(self, *, hydra_context: Any, task_function: Any, config: Any) -> None:
        self.hydra_context, self.config, self.settings = hydra_context, config, dict(config.hydra.sweeper)
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Found:
        """Raises ``InputError`` for what cannot be searched, before any trial. One that fails stops nothing."""
        loader = self.hydra_context.config_loader
        total, together = (self._count(name) for name in ("n_trials", "n_jobs"))
        knobs, fixed = parse_space(arguments, self._plain("params"), loader)
        session = Session(experiment_of(loader.recipe, [*fixed, *(knob.override(knob.first()) for knob in knobs)]))
        objectives = _objectives(self._plain("objectives"), session)
        stage_of(self.settings, session.graph)
        study = self._study(session, knobs, objectives)
        waiting = study.interrupted()
        while True:
            room = min(together, total - sum(t.state != "running" for t in study.trials()))
            batch, waiting = waiting[:room], waiting[room:]
            while len(batch) < room and (asked := study.ask()) is not None:
                batch.append(asked)
            if not batch:
                break
            self._tried(study, batch, fixed)
        return Found(objectives, knobs, study.trials(), study.best(), study.path, fixed)

    def _plain(self, name: str) -> Any:
        value = self.settings.get(name)
        return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value

    def _count(self, name: str) -> int:
        value = self.settings.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_TRIALS:
            raise InputError(
                f"{name} is a whole number from 1 to {MOST_TRIALS}, got {value!r}", key=f"hydra.sweeper.{name}"
            )
        return value

    def _study(self, session: Session, knobs: Sequence[Knob], objectives: Sequence[Objective]) -> Study:
        """The study of this name, else of this search: what is chosen among, by what, and what else the runs are made of."""
        how = {name: self.settings[name] for name in ("sampler", "pruner", "seed")}
        if isinstance(how["seed"], bool) or not isinstance(how["seed"], int):
            raise InputError(f"a seed is a whole number, got {how['seed']!r}", key="hydra.sweeper.seed")
        told = [
            sorted(session.stage_keys()),
            [asdict(knob) for knob in knobs],
            [asdict(o) for o in objectives],
            how,
            self.settings.get("prune_by"),
        ]
        mark = hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:12]
        name = str(self.settings.get("study_name") or f"{session.experiment.recipe.replace('/', '-')}-{mark}")
        if Path(name).name != name or name.startswith("."):
            raise InputError(f"a study has a plain name, got '{name}'", key="hydra.sweeper.study_name")
        session.store.prepare()
        with store_errors(session.store.root):
            path = ensure_folder(session.store.root / "studies", session.store.root).resolve() / f"{name}.log"
            refuse_links(path, path.parent)
            return Study(path, objectives, knobs, **how)

    def _tried(self, study: Study, batch: Sequence[Trial], fixed: Sequence[str]) -> None:
        """Run trials together, and tell the study what came of each."""
        jobs: list[tuple[Trial, list[str]]] = []
        try:
            for trial in batch:
                own = [knob.override(trial.params[knob.key]) for knob in study.knobs]
                job = [f"hydra.sweeper.trial={trial.number}", f"hydra.sweeper.study={_quoted(str(study.path))}"]
                try:
                    experiment_of(self.hydra_context.config_loader.recipe, [*fixed, *own])
                except KdrunError as error:
                    trial.state, trial.error = "failed", str(error)
                    study.tell(trial)
                else:
                    self.hydra_context.config_loader.told([*fixed, *own], str(self.config.get("runs") or "runs"))
                    jobs.append((trial, [*fixed, *own, *job]))
            returned = (
                self.launcher.launch([words for _, words in jobs], initial_job_idx=batch[0].number) if jobs else []
            )
            for (trial, _), job_return in zip(jobs, returned, strict=True):
                _judge(trial, job_return, study.objectives)
                study.tell(trial)
        except BaseException:
            study.let_go(batch)
            raise


def _judge(trial: Trial, returned: Any, objectives: Sequence[Objective]) -> None:
    """Put into a trial what its job says of itself, or that it ended without a word."""
    try:
        value = returned.return_value
    except Exception as error:  # of a launcher whose process has died
        trial.state, trial.error = "failed", f"{type(error).__name__}: {error}"
        return
    told = getattr(value, "told", value)
    if not isinstance(told, Told):
        trial.state, trial.error = "failed", "the job ended without a word"
        return
    trial.state, trial.error = told.state, told.error
    if told.state == "finished":
        lacking = [one.metric for one in objectives if one.metric not in told.metrics]
        if lacking:
            trial.state, trial.error = "failed", f"nothing measured {', '.join(lacking)}"
        trial.values = [told.metrics.get(one.metric, float("nan")) for one in objectives]


def _objectives(said: Any, session: Session) -> list[Objective]:
    """What the search is for: ``said`` of its own, else the objective that is stated. Raises ``InputError`` for what nothing measures."""
    experiment: Experiment = session.experiment
    stated = parse_objective(experiment.config.get("objective"))
    key = "hydra.sweeper.objectives"
    if said is None:
        if stated is None:
            raise InputError(
                "a search needs an objective: objective=METRIC, or {metric: METRIC, goal: minimize}", key="objective"
            )
        return [stated]
    less = lowest(session.graph)
    found = []
    for content in said if isinstance(said, list) else [said]:
        one = parse_objective(content)
        if one is None:
            raise InputError("objectives lists metrics", key=key)
        if not (isinstance(content, Mapping) and "goal" in content):  # its own way, where nobody said another
            own = (
                stated.goal
                if stated is not None and stated.metric == one.metric
                else "minimize"
                if one.metric in less
                else "maximize"
            )
            one = Objective(one.metric, own)
        look_up(one.metric, labels(session.graph), what="nothing here measures", key=key)
        found.append(one)
    if not found or len({one.metric for one in found}) < len(found):
        raise InputError("objectives lists different metrics", key=key)
    return found


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "\\'") + "'"
