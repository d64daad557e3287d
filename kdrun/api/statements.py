"""Whether what a recipe states of its arms, claims and a leaderboard, could be decided by what they measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kdrun.claims import check_claims, check_measured, check_read
from kdrun.config.compose import Composer
from kdrun.config.experiment import Experiment
from kdrun.errors import KdrunError
from kdrun.report.leaderboard import check_leaderboard, check_ranked

__all__ = ["check_decidable", "check_stated"]


def check_stated(composer: Composer, base: Experiment) -> Mapping[str, Any] | None:
    """The recipe's leaderboard, if it has one.

    Raises ``InputError``, with file and line, for claims or a leaderboard on unknown arms, and for arms that no claim reads.
    """
    arms, board = list(base.config.get("arms") or {}), base.config.get("leaderboard")
    try:
        check_claims(base.claims, arms)
        if board is not None:
            check_leaderboard(board, arms)
        elif composer.judged_as_written(base):
            check_read(base.claims, base.config.get("arms") or {})
    except KdrunError as error:
        raise base.explain(error) from None
    return board


def check_decidable(
    base: Experiment,
    claims: Mapping[str, Any],
    board: Mapping[str, Any] | None,
    measured: Mapping[str, Sequence[str]],
    scale: str,
) -> None:
    """Raise ``InputError``, with file and line, for a metric that an arm does not measure. ``measured``: labels, by arm."""
    try:
        check_measured(claims, measured, scale)
        if board is not None:
            check_ranked(board, measured)
    except KdrunError as error:
        raise base.explain(error) from None
