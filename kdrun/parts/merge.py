"""Parts of the ``merge`` stage: one model out of several of one architecture."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch.nn import Module

from kdrun.errors import InputError, nearest
from kdrun.registry import merge

__all__ = ["average_weights", "best_scored", "task_arithmetic"]


@merge
def average_weights(models: list[Module], *, weights: list[float] | None = None) -> Module:
    """The (weighted) mean of all parameters and floating-point buffers (model soups: Wortsman et al., 2022).

    Other buffers are the first model's. Raises ``InputError`` if architectures or the number of ``weights`` differ.
    """
    shares = weights or [1.0] * len(models)
    if len(shares) != len(models):
        raise InputError(f"{len(models)} models need as many weights, got {len(shares)}")
    states = [model.state_dict() for model in models]
    for state in states[1:]:
        if {k: v.shape for k, v in state.items()} != {k: v.shape for k, v in states[0].items()}:
            raise InputError("weights are averaged over models of one architecture")
    merged = copy.deepcopy(models[0])
    total = sum(shares)
    merged.load_state_dict(
        {
            name: torch.stack([s * state[name] for s, state in zip(shares, states, strict=True)]).sum(0) / total
            if value.is_floating_point()
            else value
            for name, value in states[0].items()
        }
    )
    return merged


@merge
def best_scored(models: list[Module], scores: list[dict[str, Any]], *, column: str, largest: bool = True) -> Module:
    """The one of the models whose row of ``scores`` has the largest (or smallest) value in ``column``; the first of equals.

    ``scores`` is a table with a row a model, in the models' order, such as ``evaluate`` gives. NaN never wins.
    Raises ``InputError`` for another number of rows, no such column or NaN alone.
    """
    if len(scores) != len(models):
        raise InputError(f"{len(models)} models need a table with as many rows, got {len(scores)}")
    if any(column not in row for row in scores):
        raise InputError(f"the scores have no column '{column}'{nearest(column, scores[0])}")
    values = [float(row[column]) * (1 if largest else -1) for row in scores]
    known = [i for i, value in enumerate(values) if not math.isnan(value)]
    if not known:
        raise InputError(f"no model has a number in '{column}'")
    return models[max(known, key=lambda i: values[i])]


@merge
def task_arithmetic(base: Module, models: list[Module], *, scale: float = 1.0) -> Module:
    """The base's weights plus ``scale`` times the summed differences of the tuned ``models`` from it (Ilharco et al., 2023).

    Buffers that are no floating-point numbers are the base's. Raises ``InputError`` if architectures differ.
    """
    start, states = base.state_dict(), [model.state_dict() for model in models]
    for state in states:
        if {k: v.shape for k, v in state.items()} != {k: v.shape for k, v in start.items()}:
            raise InputError("task vectors are differences between models of one architecture")
    base.load_state_dict(
        {
            name: value + scale * torch.stack([state[name] - value for state in states]).sum(0)
            if value.is_floating_point()
            else value
            for name, value in start.items()
        }
    )
    return base
