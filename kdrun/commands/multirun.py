"""What a multirun says of its jobs: a table of those that ended well, the others with why they failed; and running these again."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kdrun.commands.output import say
from kdrun.config.guard import OF_THE_USER
from kdrun.config.layers import parse_text
from kdrun.config.sweeps import is_search
from kdrun.engine.multiruns import Multirun, newest_multirun
from kdrun.engine.told import Told
from kdrun.errors import InputError, KdrunError, RunError
from kdrun.grammar.measurements import in_table
from kdrun.report.tables import arm_table, text_table

__all__ = ["RETRY", "found_by", "is_multirun", "keep", "meant", "retried", "summed_up", "sweep_table"]

RETRY = "--retry-failed"

FLAGS = ("-m", "--multirun")

Swept = dict[str, dict[int, Mapping[str, float]]]
"""What was swept, but the seed → seed → figures."""


def is_multirun(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for one."""
    return any(argument in FLAGS for argument in arguments)


def meant(text: str) -> list[tuple[str, str]]:
    """The key and the value of an override, however it is written; nothing of one that stands for several values, or of a flag."""
    try:
        return [(o.path, repr(o.value)) for o in parse_text([text])]
    except KdrunError:
        return []


def summed_up(recipe: str, jobs: Sequence[Told]) -> int:
    """Say of several jobs what they gave, and which failed and why; return the exit code of all: the largest of a job's."""
    failed = [job for job in jobs if job.code]
    if len(jobs) > 1 and len(failed) < len(jobs):
        swept: Swept = {}
        for job in jobs:
            if not job.code:
                keep(swept, job.words, job.metrics)
        say(f"\n{sweep_table(swept)}")
    if len(jobs) > 1 and failed:
        told = [f"  {' '.join(job.words)}: {job.error}" for job in failed]
        again = f"again, these alone: kdrun run {shlex.quote(recipe)} -m {RETRY}"
        say("\n".join([f"kdrun: {len(failed)} of {len(jobs)} jobs failed:", *told, again]), file=sys.stderr)
    return max((job.code for job in jobs), default=0)


def found_by(returned: Sequence[Any], recipe: str) -> int | None:
    """Say what a search found, if one did, and return the exit code: that of a failed run where no trial ended well."""
    if len(returned) != 1 or isinstance(returned[0], Told | float | None):
        return None
    from kdrun.report.trials import best_lines, failed_lines, trial_table

    found = returned[0]
    say(f"\n{trial_table(found)}\n\n{best_lines(found, recipe)}")
    if lines := failed_lines(found):
        say("\n".join([f"kdrun: {lines[0]}", *lines[1:]]), file=sys.stderr)
    return 0 if found.best else RunError.exit_code


def keep(swept: Swept, words: Sequence[str], metrics: Mapping[str, float]) -> None:
    """Put a job's figures under what was swept, by its seed."""
    seeds = [word for word in words if word.startswith("seed=")]
    runs = swept.setdefault(" ".join(word for word in words if word not in seeds) or "all", {})
    runs[int(seeds[0].partition("=")[2]) if seeds else 0] = metrics


def sweep_table(swept: Swept) -> str:
    """A row a combination of what was swept, a column a metric of the tables named ``test`` or, without one, any: means over seeds."""
    names = {name for runs in swept.values() for metrics in runs.values() for name in metrics}
    header, rows = arm_table(swept, sorted(name for name in names if in_table(name, "test")))
    return text_table(["swept", *header[1:]], rows)


def retried(recipe: str, named: str, arguments: Sequence[str]) -> tuple[list[str], Multirun]:
    """The words of the multirun whose failed jobs are to be run again, and its record: the newest with the words that are given,
    the newest of all where only ``-m`` is.

    ``named`` is the recipe as it was typed. Says what will be run. Raises ``InputError`` where there is no such multirun, or its
    record names code or folders, which are taken from the command line alone.
    """
    given = [argument for argument in arguments if argument != RETRY]
    if not is_multirun(given):
        raise InputError(f"{RETRY} goes with -m: it runs the jobs of a multirun again that failed", key=RETRY)
    words = [word for word in given if word not in FLAGS]
    if is_search(words):
        raise InputError(
            f"a search goes on by the same words without {RETRY}: trials that failed stay as they are", key=RETRY
        )
    places = [value for word in words for path, value in meant(word) if path == "runs"]
    own = [word for word in words if not word.startswith(("runs=", "launcher="))]
    found = newest_multirun(Path(places[0].strip("'") if places else "runs"), recipe, _comparable(words) if own else ())
    if found is None:
        told = f" with {' '.join(own)}" if own else ""
        raise InputError(f"no multirun of {named}{told} is recorded: run it without {RETRY}", key=RETRY)
    if not own:
        words = [*_of_record(named, found), *words]
    bad = found.unfinished()
    say(f"kdrun: {len(bad)} of {len(found.states())} jobs to run again", file=sys.stderr)
    for job in bad:
        say(f"  {job.words}: {job.state}{f': {job.error}' if job.error else ''}", file=sys.stderr)
    return ["-m", *words], found


def _comparable(words: Sequence[str]) -> list[str]:
    return [word for word in words if not word.startswith("launcher=")]


def _of_record(named: str, found: Multirun) -> list[str]:
    """The words of a record, which may have come with a folder: what only the user may say is not taken from it."""
    words = [str(word) for word in found.about()["given"]]
    reserved = [word for word in words if word.startswith("-") or "***" in word or _first(word) in OF_THE_USER]
    if reserved:
        again = shlex.join(["kdrun", "run", named, "-m", *words, RETRY])
        raise InputError(f"say again what only you may say ({' '.join(reserved)}): {again}", key=RETRY)
    return words


def _first(word: str) -> str:
    """The first piece of an override's key."""
    return re.split(r"[=./@]", word.lstrip("+~"))[0]
