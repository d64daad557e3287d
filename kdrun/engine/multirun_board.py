"""How a multirun stands, as a board shows it: each job by what it has of its own, put together from what the jobs write."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from kdrun.engine.multiruns import JobState, Multirun
from kdrun.runtime.board import Row
from kdrun.runtime.journal import read_journal

__all__ = ["board_of"]

SHOWN_AS = {"interrupted": "failed", "pruned": "finished"}
"""A board's word for a job's state."""


def board_of(multirun: Multirun) -> tuple[dict[str, Any], list[Row]] | None:
    """What a journal would tell of the whole, and a row a job; None where its record cannot be read."""
    about = multirun.about()
    if not all(isinstance(about.get(name), int | float) for name in ("started", "updated", "process")):
        return None
    jobs = multirun.states()
    rows = [_row(job) for job in jobs]
    title = f"{about.get('recipe', '')} -m {' '.join(map(str, about['given']))}"
    heard = [float(about["updated"]), *(job.updated for job in jobs if job.updated is not None)]
    told = {**about, "title": title, "messages": [], "closed": bool(about.get("closed")), "left": _left(jobs, rows)}
    running = [journal[0]["updated"] for job in jobs if job.state == "running" and (journal := _journal(job))]
    return {**told, "updated": max([*heard, *running])}, rows


def _journal(job: JobState) -> tuple[dict[str, Any], list[Row]] | None:
    return read_journal(job.records) if job.records is not None and not job.records.is_symlink() else None


def _row(job: JobState) -> Row:
    state = SHOWN_AS.get(job.state, job.state)
    if state not in ("waiting", "running", "finished", "failed"):
        state = "waiting"
    journal = _journal(job) if state == "running" else None
    row = journal[1][0] if journal is not None and journal[1] else Row()
    row.label, row.state, row.error = job.words, state, job.error if state == "failed" else None
    if job.state == "interrupted":
        row.error = ": ".join(filter(None, ("interrupted", job.error)))
    return row


def _left(jobs: Sequence[JobState], rows: Sequence[Row]) -> float | None:
    """Seconds to the end, as far as jobs that are over show how long one takes."""
    lengths = [
        j.updated - j.began for j in jobs if j.state == "finished" and j.updated is not None and j.began is not None
    ]
    if not lengths:
        return None
    usual = sum(lengths) / len(lengths)
    running = [max(usual - (time.time() - (job.began or time.time())), 0.0) for job in jobs if job.state == "running"]
    waiting = sum(row.state == "waiting" for row in rows)
    return (sum(running) + waiting * usual) / max(len(running), 1)
