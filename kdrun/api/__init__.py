"""kdrun for programs and notebooks: what the commands do, as functions that return values and print nothing.

    import kdrun

    experiment = kdrun.compose("distillation/kd", ["epochs=2"], arm="kd")
    result = kdrun.run(experiment)
    result.metrics["test.accuracy"]

Errors are those of ``kdrun.errors``; their text names file and line. What a call needs of the process (torch's threads and
random streams, plug-ins) is put back when it returns.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdrun.api.asked import Overrides, merged, selected
from kdrun.api.composition import Composition

if TYPE_CHECKING:
    from kdrun.api.finished import Run
    from kdrun.api.prediction import Evaluation, Predictions
    from kdrun.api.reproduction import Reproduction
    from kdrun.api.student import Student
    from kdrun.api.study import Study, StudyOutcome
    from kdrun.config.compose import Composer
    from kdrun.config.experiment import Experiment, Selection
    from kdrun.engine.sweep import By
    from kdrun.runtime.progress import Reporter

__all__ = ["Composition", "compose", "evaluate", "predict", "reproduce", "run"]

Folder = str | Path
Plugins = Sequence[Folder]


def compose(
    recipe: Folder,
    overrides: Overrides = (),
    *,
    arm: str | None = None,
    scale: str | None = None,
    seed: int | None = None,
    store: Folder | None = None,
    plugins: Plugins | None = None,
) -> Composition:
    """Compose a recipe with its arm and scale and the caller's overrides, as ``kdrun run`` would.

    ``recipe`` is a name (``kd``, ``distillation/kd``) or a YAML file. ``overrides`` are ``["epochs=2"]`` in the command line's
    grammar or a mapping ``{"epochs": 2}``. ``store`` is the folder of results (default: ``KDRUN_STORE``, else
    ``~/.cache/kdrun``); ``plugins`` are Python files or installed packages with parts of your own. Raises ``InputError``.
    """
    return Composition.of(
        str(recipe), selected(overrides, arm=arm, scale=scale, seed=seed, store=store, plugins=plugins)
    )


def run(
    experiment: Composition | Folder,
    overrides: Overrides = (),
    *,
    arm: str | None = None,
    scale: str | None = None,
    seed: int | None = None,
    store: Folder | None = None,
    runs: Folder | None = None,
    plugins: Plugins | None = None,
    progress: bool = False,
) -> Run:
    """Run what ``compose`` gave, or a recipe; what the store holds is read from it.

    Arguments are those of ``compose``; over a composition they are further changes. ``runs`` is a folder for records such as the
    command line keeps; without it none are written, unless a tracker is chosen. ``progress`` reports on standard error. Raises
    ``InputError`` for what is wrong in the configuration, before anything runs, and ``RunError`` if the run fails.
    """
    from kdrun.api.finished import Run
    from kdrun.engine.recording import run_recorded
    from kdrun.engine.session import Session

    asked = selected(overrides, arm=arm, scale=scale, seed=seed, store=store, runs=runs, plugins=plugins)
    composed = (
        experiment.changed(asked) if isinstance(experiment, Composition) else Composition.of(str(experiment), asked)
    )
    with _surroundings(composed.plugins, progress) as reporter:
        session = Session(composed.experiment, reporter, graph=composed.graph)
        if _keeps_records(composed.experiment):
            return Run(session, *run_recorded(session))
        return Run(session, session.run())


def reproduce(
    recipe: Composition | Folder,
    overrides: Overrides = (),
    *,
    arms: Sequence[str] | None = None,
    seeds: int | Sequence[int] | None = None,
    scale: str | None = None,
    store: Folder | None = None,
    runs: Folder | None = None,
    plugins: Plugins | None = None,
    jobs: int = 1,
    progress: bool = False,
    max_seeds: int | None = None,
) -> Reproduction:
    """Run all arms of a recipe, or of what ``compose`` gave, over its seeds and judge its claims, as ``kdrun reproduce`` would.

    ``seeds`` is a number of seeds or a list of them. With some ``arms`` alone no claim is judged. ``runs`` is a folder for the
    records and the HTML page; without it none are written. ``jobs`` is the number of processes, unless a launcher is chosen (``launcher=slurm``). A run that fails does not stop the
    others: it stands in ``failures``. With ``max_seeds`` all arms run until the main claims are decided: ``seeds``, a number, is what
    each look at them adds. Raises ``InputError``, and ``RunError`` if all runs fail or a process dies.
    """
    from kdrun.api.reproduction import Reproduction
    from kdrun.config.compose import Composer
    from kdrun.engine.launching import Cluster
    from kdrun.errors import InputError

    if max_seeds is not None and arms is not None:
        raise InputError("claims are decided by all arms: max_seeds goes without arms")
    selection = selected(overrides, scale=scale, seeds=seeds, store=store, runs=runs, plugins=plugins)
    if isinstance(recipe, Composition):
        selection = merged(recipe.selection, selection)
    name = recipe.recipe if isinstance(recipe, Composition) else str(recipe)
    composer = Composer.named(name, selection.overrides)
    workers = Cluster.of(composer.recipe, [override.key for override in selection.overrides]) or jobs
    with _surroundings(plugins or (), progress) as reporter:
        study, outcome = _studied(composer, selection, arms, workers, max_seeds, reporter)
        for text, without in study.left_out.items():
            reporter.message(f"{text} means nothing in arm {', '.join(without)}")
        found = Reproduction.of(study, outcome)
    folder = _records_of(study.base)
    return found if folder is None else found.written(folder)


def predict(
    source: Folder,
    folder: Folder,
    *,
    top: int = 1,
    skip_broken: bool = False,
    stage: str = "fit_student",
    role: str | None = None,
    plugins: Plugins = (),
    trusted: bool = False,
    device: str = "cpu",
    batch_size: int = 64,
) -> Predictions:
    """Ask a trained student about an image, or about all at any depth below ``folder``, as ``kdrun predict`` would.

    ``source`` is what ``kdrun export`` wrote (a ``.pt2`` file is a program: it needs ``trusted``), or the folder of a run, of whose
    ``stage`` and ``role`` the model is taken. Images are prepared as the training data were. Each gets its ``top`` classes; a broken
    one raises ``DataError``, or is left out with ``skip_broken`` and named in ``broken``. Raises ``InputError`` for a model that
    reads no images, or does not give an entry a class.
    """
    from kdrun.api import prediction

    with _student(source, plugins, stage=stage, role=role, device=device, trusted=trusted) as student:
        place = Path(folder).expanduser()
        return prediction.predicted(student, place, top=top, skip_broken=skip_broken, batch_size=batch_size)


def evaluate(
    source: Folder,
    folder: Folder,
    *,
    metrics: Sequence[str] | None = None,
    top: int = 1,
    skip_broken: bool = False,
    stage: str = "fit_student",
    role: str | None = None,
    plugins: Plugins = (),
    trusted: bool = False,
    device: str = "cpu",
    batch_size: int = 64,
) -> Evaluation:
    """Score a trained student on the images of ``folder/CLASS/*.png``, as ``kdrun evaluate`` would.

    Arguments are those of ``predict``; ``metrics`` are names of registered ones that read logits and labels. Raises what ``predict``
    raises, and ``InputError`` for a folder that is no class of the model.
    """
    from kdrun.api import prediction

    with _student(source, plugins, stage=stage, role=role, device=device, trusted=trusted) as student:
        return prediction.evaluated(
            student,
            Path(folder).expanduser(),
            metrics=prediction.METRICS if metrics is None else metrics,
            top=top,
            skip_broken=skip_broken,
            batch_size=batch_size,
        )


@contextlib.contextmanager
def _student(source: Folder, plugins: Plugins, **wanted: Any) -> Iterator[Student]:
    """A trained student, while the plug-ins that hold its code are in use."""
    from kdrun.api.student import Student
    from kdrun.registry import catalog_with

    with catalog_with([str(plugin) for plugin in plugins]):
        yield Student.of(Path(source).expanduser(), **wanted)


def _studied(
    composer: Composer,
    selection: Selection,
    arms: Sequence[str] | None,
    workers: By,
    max_seeds: int | None,
    reporter: Reporter,
) -> tuple[Study, StudyOutcome]:
    """Run a study once, or look by look until its claims are decided."""
    from kdrun.api.looks import until_decided
    from kdrun.api.study import Study

    def run_all(study: Study) -> StudyOutcome:
        return study.run(reporter, workers, _records_of(study.base))

    if max_seeds is not None:
        return until_decided(composer, selection, max_seeds, reporter, run_all, workers)
    study = Study.of(composer, selection, arms).tuned(reporter, workers)
    return study, run_all(study)


def _records_of(base: Experiment) -> Folder | None:
    """The folder for the records of a study; None where none are kept."""
    return (base.config.get("runs") or "runs") if _keeps_records(base) else None


@contextlib.contextmanager
def _surroundings(plugins: Sequence[Any], progress: bool) -> Iterator[Reporter]:
    """Plug-ins, torch's state and progress, for the time of a run."""
    from kdrun.errors import InputError
    from kdrun.registry import catalog_with
    from kdrun.runtime.process_state import restored_afterwards
    from kdrun.runtime.processes import dismiss, launched
    from kdrun.runtime.reporters import make_reporter

    if (launched() or (0, 1))[1] > 1:
        raise InputError(
            "processes that torchrun started run a recipe by the command line: torchrun … -m kdrun run RECIPE"
        )
    reporter = make_reporter(quiet=not progress)
    try:
        with catalog_with([str(plugin) for plugin in plugins]), restored_afterwards():
            yield reporter
    finally:
        reporter.close()
        dismiss()


def _keeps_records(experiment: Experiment) -> bool:
    """Whether the caller named a folder for records, or a tracker, which needs one."""
    tracker = (experiment.config.get("tracker") or {}).get("tracker", "local")
    return tracker != "local" or any(o.path == "runs" for o in experiment.overrides)
