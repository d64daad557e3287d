"""The runs of a study that an earlier command did not bring to an end."""

from __future__ import annotations

from pathlib import Path

from kdrun.api.study import Study
from kdrun.engine.records import read_record
from kdrun.errors import InputError
from kdrun.runtime.journal import read_journal

__all__ = ["to_retry"]

SHOWN = 6
"""Labels that a message lists at most."""


def to_retry(study: Study, runs: str | Path) -> list[str]:
    """A line for each run that is to be done again: its label, how it stands, and why.

    ``runs`` has the records. Raises ``InputError`` for runs that no earlier command knew: they are no failures.
    """
    journal = read_journal(study.folder(runs))
    known = {row.label for row in journal[1]} if journal is not None else set()
    lines, new = [], []
    for job in study.jobs:
        if study.sessions[job.label].executor.finished():
            continue
        record = read_record(study.records_of(job, runs))
        if record["state"] in ("failed", "interrupted"):
            lines.append(
                f"{job.label} {record['state']}: {record.get('error', '')}".removesuffix(
                    "KeyboardInterrupt"
                ).removesuffix(": ")
            )
        elif record["state"] == "finished":
            lines.append(f"{job.label} finished, and its results are no longer in the store")
        elif job.label in known:
            lines.append(f"{job.label} had not begun")
        else:
            new.append(job.label)
    if new:
        told = ", ".join([*new[:SHOWN], *(["…"] if len(new) > SHOWN else [])])
        raise InputError(
            f"{len(new)} runs were never begun ({told}): without --retry-failed they are run, too", key="--retry-failed"
        )
    return lines
