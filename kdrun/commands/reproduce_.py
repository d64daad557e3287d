"""``kdrun reproduce RECIPE [scale=...] [key=value ...]``: arms × seeds, verdicts, a report."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from kdrun.api.looks import until_decided
from kdrun.api.reproduction import Reproduction
from kdrun.api.retrying import to_retry
from kdrun.api.study import Study, StudyOutcome
from kdrun.commands.arguments import chosen, count, parse, recipe_parser
from kdrun.commands.output import say
from kdrun.config.paths import RecipeFile
from kdrun.engine.launching import Cluster
from kdrun.engine.sweep import By
from kdrun.errors import InputError, KdrunError, RunError
from kdrun.report.tables import arm_table, text_table
from kdrun.runtime.reporters import make_reporter

__all__ = ["main"]


def main(arguments: Sequence[str]) -> int:
    parser = recipe_parser("reproduce", "Run all arms of a recipe over several seeds and judge its claims.")
    parser.add_argument("--jobs", type=count, help="processes to use (default: processors / hardware.threads)")
    parser.add_argument("--arms", help="only these arms, comma-separated; arm=NAME for one")
    parser.add_argument("--strict", action="store_true", help="exit with 3 if a claim is contradicted")
    parser.add_argument("--quiet", action="store_true", help="print only the result")
    parser.add_argument("--until-decided", action="store_true", help="add seeds until the main claims are decided")
    parser.add_argument("--max-seeds", type=count, metavar="N", help="with --until-decided: the most seeds to run")
    parser.add_argument(
        "--retry-failed", action="store_true", help="say which runs failed or were cut off, and run them"
    )
    options = parse(parser, arguments)
    if options.until_decided != (options.max_seeds is not None) or (options.until_decided and options.arms):
        raise InputError("--until-decided and --max-seeds N go together, and with all arms")
    if options.until_decided and options.retry_failed:
        raise InputError("--until-decided goes on by itself: leave out --retry-failed")
    study, outcome = _run(options)
    found = _judged(study, outcome)
    say(found)
    if late := study.late(_records_of(study)):
        say(f"\n{late}")
    page = found.written(_records_of(study)).page
    say(f"\nreport: {page.resolve() if page and sys.stdout.isatty() else page}")
    for label, failure in found.failures.items():
        say(f"kdrun: {label} failed: {failure}", file=sys.stderr)
    if found.failures:
        return RunError.exit_code
    return 3 if options.strict and any(v.outcome == "contradicted" for v in found.verdicts) else 0


def _run(options: argparse.Namespace) -> tuple[Study, StudyOutcome]:
    """Run the study that a command line describes, or one until it is decided."""
    composer, selection = chosen(options)
    reporter = make_reporter(quiet=options.quiet)
    reporter.preparing(f"{composer.recipe.name}: checking and planning")
    workers = _workers(options, composer.recipe)

    def run(study: Study) -> StudyOutcome:
        if study.looks[:1] in ((), (len(study.seeds),)):  # once
            _tell_left_out(study)
        return study.run(reporter, workers, _records_of(study))

    try:
        if options.until_decided:
            return until_decided(composer, selection, options.max_seeds, reporter, run, workers)
        study = Study.of(composer, selection, options.arms.split(",") if options.arms is not None else None)
        study = study.tuned(reporter, workers)
        if options.retry_failed:
            _tell_retried(study)
        return study, run(study)
    finally:
        reporter.close()


def _workers(options: argparse.Namespace, recipe: RecipeFile) -> By:
    cluster = Cluster.of(recipe, options.overrides)
    if cluster is not None and options.jobs is not None:
        raise InputError(
            f"{' '.join(cluster.words)} says where runs are started: leave out --jobs (hydra.launcher.n_jobs=… counts joblib's)"
        )
    return options.jobs if cluster is None else cluster


def _records_of(study: Study) -> str:
    return study.base.config.get("runs") or "runs"


def _tell_retried(study: Study) -> None:
    found = to_retry(study, _records_of(study))
    say(
        "\n".join([f"kdrun: {len(found)} of {len(study.jobs)} runs to do again", *(f"  {line}" for line in found)]),
        file=sys.stderr,
    )


def _tell_left_out(study: Study) -> None:
    for text, without in study.left_out.items():
        say(f"kdrun: {text} means nothing in arm {', '.join(without)}", file=sys.stderr)


def _judged(study: Study, outcome: StudyOutcome) -> Reproduction:
    """The verdicts. An error in a claim is told below what was measured."""
    try:
        return Reproduction.of(study, outcome)
    except KdrunError:
        say(text_table(*arm_table(outcome.results)))
        raise
