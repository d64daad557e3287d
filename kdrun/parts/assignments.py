"""Cheapest assignments of rows to columns, one after the other, and what they say together of each pair."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

__all__ = ["best_assignments", "marginals"]

Array = np.ndarray[Any, Any]

FORBIDDEN = 1e9
"""Cost of an assignment that cannot be."""


def marginals(ratio: Array, unexplained: Array, hypotheses: int) -> Array:
    """Probabilities [tracks, points] that a track caused a point, over the best global associations.

    ``ratio`` [tracks, points] weighs an association against a miss, ``unexplained`` [points] a point of no track.
    """
    tracks, points = ratio.shape
    share = np.zeros_like(ratio)
    if not tracks or not points:
        return share
    with np.errstate(divide="ignore"):
        own = np.where(np.eye(points, dtype=bool), -np.log(unexplained)[:, None], np.inf)
        cost = np.concatenate([-np.log(ratio).T, own], 1)
    found = list(best_assignments(np.minimum(cost, FORBIDDEN), hypotheses))
    least = found[0][0]
    weights = np.array([math.exp(least - total) for total, _ in found])
    for weight, (_, columns) in zip(weights / weights.sum(), found, strict=True):
        rows = np.flatnonzero(columns < tracks)
        share[columns[rows], rows] += weight
    return share


def best_assignments(cost: Array, count: int) -> Iterator[tuple[float, Array]]:
    """The ``count`` cheapest assignments of rows to columns, by total cost (Murty, 1968): (total, columns [rows]).

    ``cost`` [rows, columns] with no fewer columns than rows; 1e9 or more forbids a pair. Fewer come if there are no more.
    """

    def solved(table: Array) -> tuple[float, Array] | None:
        rows, columns = linear_sum_assignment(table)
        total = float(table[rows, columns].sum())
        return (total, columns) if total < FORBIDDEN / 2 else None

    best = solved(cost)
    waiting: list[tuple[float, Array, Array]] = [(*best, cost)] if best is not None else []
    for _ in range(count):
        if not waiting:
            return
        place = min(range(len(waiting)), key=lambda i: waiting[i][0])
        total, columns, table = waiting.pop(place)
        yield total, columns
        if count == 1:
            return
        table = table.copy()
        for row, column in enumerate(columns):  # split what is left by the first row that is assigned otherwise
            kept = table[row, column]
            table[row, column] = FORBIDDEN
            other = solved(table)
            if other is not None:
                waiting.append((*other, table.copy()))
            table[row] = FORBIDDEN
            table[:, column] = FORBIDDEN
            table[row, column] = kept
