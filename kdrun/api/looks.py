"""More seeds until the claims are decided, looked at in fixed steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from kdrun.api.study import Study, StudyOutcome
from kdrun.claims import Verdict, planned_looks
from kdrun.config.compose import Composer
from kdrun.config.experiment import Selection
from kdrun.engine.sweep import By
from kdrun.errors import InputError
from kdrun.runtime.progress import Reporter

__all__ = ["until_decided"]


def until_decided(
    composer: Composer,
    selection: Selection,
    most: int,
    reporter: Reporter,
    run: Callable[[Study], StudyOutcome],
    workers: By = None,
) -> tuple[Study, StudyOutcome]:
    """Run as many seeds as the main claims need (all claims, where none is), ``most`` at the most; looks come every ``seeds`` seeds.

    ``run`` runs a study; what is tuned is tuned before, by ``workers``. What the store holds is not run again, so that the same call goes on where it stopped and looks as often as before.
    Raises ``InputError`` for seeds that are a list, without claims, and at scale smoke, which decides nothing.
    """
    study = Study.of(composer, selection)
    _refuse_undecidable(study, selection, most)
    looks = planned_looks(len(study.seeds), most)
    for at, count in enumerate(looks):
        if at:
            study = Study.of(composer, replace(selection, seeds=count))
        study = replace(study, looks=looks).tuned(reporter, workers)
        outcome = run(study)
        waiting = _waiting(study.verdicts(outcome))
        said = f"undecided: {', '.join(waiting)}" if waiting else "decided"
        reporter.message(f"look {at + 1} of {len(looks)}, {count} seeds; {said}")
        if not waiting:
            break
    return study, outcome


def _waiting(verdicts: Sequence[Verdict]) -> list[str]:
    """The claims that more seeds are wanted for."""
    wanted = [v for v in verdicts if v.kind == "main"] or verdicts
    return [v.name for v in wanted if v.outcome == "undecided"]


def _refuse_undecidable(study: Study, selection: Selection, most: int) -> None:
    if isinstance(selection.seeds, list):
        raise InputError(
            "until claims are decided, seeds are counted: seeds=N is the number that each look adds", key="seeds"
        )
    if study.scale == "smoke":
        raise InputError("scale smoke only tries all arms and decides no claim; choose another scale")
    if not study.claims:
        raise InputError(f"recipe '{study.base.recipe}' has no claims to decide with these arms")
    if len(study.seeds) < 2 or most < len(study.seeds):
        raise InputError(
            f"looks add {len(study.seeds)} seeds each: at least 2, and at most --max-seeds, got {most}", key="seeds"
        )
