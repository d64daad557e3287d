"""``kdrun report``: a site of all records. ``kdrun report RECIPE [scale=...]``: the one page of a reproduction, from the store."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from kdrun.commands.arguments import Parser
from kdrun.commands.output import say
from kdrun.errors import InputError

__all__ = ["main"]

WHAT = """kdrun report [--runs FOLDER] [--output FOLDER] writes a static site of all records: reproductions with their claims, curves and graphs,
and every run; open its index.html, no server is needed. kdrun report --results FOLDER writes a site of all recipes with the verdicts in a
folder such as results/ of kdrun's repository, without any run. kdrun report RECIPE [...] draws the page of one reproduction again from the store,
with the arguments of kdrun reproduce."""


def main(arguments: Sequence[str]) -> int:
    """Without a recipe, write the site. With one, the same as ``reproduce``: what is in the store is read, and what is missing is computed."""
    if arguments and not arguments[0].startswith("-"):
        from kdrun.commands import reproduce_

        return reproduce_.main(arguments)
    parser = Parser(prog="kdrun report", description=WHAT)
    parser.add_argument("--runs", type=os.path.expanduser, default="runs", help="the folder of records")
    parser.add_argument(
        "--results", type=os.path.expanduser, help="a folder of results that were written down, in place of records"
    )
    parser.add_argument(
        "--output", type=os.path.expanduser, default="report", help="the folder to write (default: report)"
    )
    options = parser.parse_args(list(arguments))
    runs, output = Path(options.runs), Path(options.output)
    if options.results is not None:
        if not Path(options.results).is_dir():
            raise InputError(f"there are no results in {options.results}/: say --results FOLDER", key="--results")
        from kdrun.report.results_site import write_results_site

        page, count = write_results_site(Path(options.results), output)
        say(f"{page}  ({count} pages)")
        return 0
    if not runs.is_dir():
        raise InputError(f"there are no records in {runs}/: run something first, or say --runs FOLDER")
    from kdrun.report.site import write_site

    page, count = write_site(runs, output)
    say(f"{page}  ({count} pages)")
    return 0
