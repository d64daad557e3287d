"""``kdrun reproduce RECIPE [scale=...] [key=value ...]``: arms × seeds, verdicts, a report."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from kdrun.api.reproduction import Reproduction
from kdrun.api.study import Study, StudyOutcome
from kdrun.commands.arguments import chosen, parse, recipe_parser
from kdrun.errors import KdrunError, RunError
from kdrun.report.tables import arm_table, text_table
from kdrun.runtime.progress import make_reporter

__all__ = ["main"]


def main(arguments: Sequence[str]) -> int:
    parser = recipe_parser("reproduce", "Run all arms of a recipe over several seeds and judge its claims.")
    parser.add_argument("--jobs", type=int, help="processes to use (default: processors / hardware.threads)")
    parser.add_argument("--arms", help="only these arms, comma-separated; arm=NAME for one")
    parser.add_argument("--strict", action="store_true", help="exit with 3 if a claim is contradicted")
    parser.add_argument("--quiet", action="store_true", help="print only the result")
    options = parse(parser, arguments)
    composer, selection = chosen(options)
    study = Study.of(composer, selection, options.arms.split(",") if options.arms else None)
    for text, without in study.left_out.items():
        print(f"kdrun: {text} means nothing in arm {', '.join(without)}", file=sys.stderr)
    reporter = make_reporter(quiet=options.quiet)
    runs = study.base.config.get("runs") or "runs"
    try:
        outcome = study.run(reporter, options.jobs, runs)
    finally:
        reporter.close()
    found = _judged(study, outcome)
    print(found)
    page = found.written(runs).page
    print(f"\nreport: {page.resolve() if page and sys.stdout.isatty() else page}")
    for label, failure in found.failures.items():
        print(f"kdrun: {label} failed: {failure}", file=sys.stderr)
    if found.failures:
        return RunError.exit_code
    return 3 if options.strict and any(v.outcome == "contradicted" for v in found.verdicts) else 0


def _judged(study: Study, outcome: StudyOutcome) -> Reproduction:
    """The verdicts. An error in a claim is told below what was measured."""
    try:
        return Reproduction.of(study, outcome)
    except KdrunError:
        print(text_table(*arm_table(outcome.results)))
        raise
