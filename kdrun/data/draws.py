"""Random numbers for rows that are made when they are read: a row's numbers depend on its own place in a stream alone."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from scipy.special import ndtri

__all__ = ["Draws", "poisson_table"]

Array = np.ndarray[Any, Any]


class Draws:
    """Random numbers of several rows at once: each row has a stream of its own, read in the same order."""

    def __init__(self, numbers: Array, stream: int, attempt: int, count: int) -> None:
        self.values = np.empty((len(numbers), count))
        for row, number in enumerate(numbers.tolist()):
            bits = np.random.Philox(key=[stream, number], counter=[0, 0, 0, attempt])
            np.random.Generator(bits).random(out=self.values[row])
        self.place = 0

    def uniform(self, *shape: int) -> Array:
        """Uniform numbers [rows, *shape] in [0, 1)."""
        count = math.prod(shape)
        taken = self.values[:, self.place : self.place + count]
        self.place += count
        return taken.reshape(len(taken), *shape)

    def normal(self, *shape: int) -> Array:
        return ndtri(np.maximum(self.uniform(*shape), 1e-300))

    def poisson(self, mean: float, *, least: int = 0) -> Array:
        """Poisson numbers [rows], given that they are ``least`` or more."""
        table = poisson_table(mean)
        below = table[least - 1] if least else 0.0
        return np.searchsorted(table, below + (1 - below) * self.uniform(1)[:, 0], side="right")


@functools.cache
def poisson_table(mean: float) -> Array:
    """Cumulative probabilities of 0, 1, 2 … up to where less than 1e-12 is left."""
    count = int(mean + 12 * math.sqrt(mean) + 24)
    logs = np.arange(count) * math.log(mean) if mean else np.where(np.arange(count) == 0, 0.0, -np.inf)
    factorials = np.cumsum(np.log(np.maximum(np.arange(count), 1)))
    table = np.cumsum(np.exp(logs - factorials - mean))
    table = table[: int(np.searchsorted(table, 1 - 1e-12)) + 1]
    table[-1] = 1.0
    return table
