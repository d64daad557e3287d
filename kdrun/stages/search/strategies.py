"""Strategies: which models of a space are tried, given the scores of those before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from kdrun.registry import strategy
from kdrun.types import Count

__all__ = ["aging_evolution", "random_search"]

Spec = dict[str, Any]


@strategy
def random_search(
    space: Any, evaluate: Callable[[Spec], float], *, evaluations: Count = 100, generator: torch.Generator
) -> None:
    """Score ``evaluations`` different random candidates (fewer if the space is smaller)."""
    seen: list[Spec] = []
    for _ in range(50 * evaluations):
        spec = space.sample(generator)
        if spec not in seen:
            seen.append(spec)
            evaluate(spec)
        if len(seen) == evaluations:
            return


@strategy
def aging_evolution(
    space: Any,
    evaluate: Callable[[Spec], float],
    *,
    population: Count = 20,
    tournament: Count = 10,
    evaluations: Count = 100,
    generator: torch.Generator,
) -> None:
    """Regularized evolution (Real et al., 2019): mutate the best of a tournament, and let the oldest die.

    The tournament is drawn with replacement; ``evaluations`` counts proposals, the first ``population`` among them.
    """
    living: list[tuple[float, Spec]] = []
    for number in range(evaluations):
        if number < population:
            spec = space.sample(generator)
        else:
            drawn = torch.randint(len(living), (tournament,), generator=generator).tolist()
            spec = space.mutate(max((living[i] for i in drawn), key=lambda one: one[0])[1], generator)
        living.append((evaluate(spec), spec))
        if len(living) > population:
            living.pop(0)
