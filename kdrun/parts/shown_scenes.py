"""Part of the ``show`` stage for scenes: what was measured, where the targets are, and where a tracker says that they are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from kdrun.data.dataset import Dataset
from kdrun.errors import InputError
from kdrun.registry import show
from kdrun.runtime.artifacts import Value
from kdrun.runtime.context import Context
from kdrun.runtime.outputs import outputs_over
from kdrun.types import Count, Fraction

__all__ = ["scenes"]


@show(fields=("shown",))
def scenes(
    model: Module,
    data: Dataset,
    threshold: Tensor | None = None,
    *,
    at: Fraction = 0.5,
    of: str = "estimates",
    rows: Count = 6,
    batch_size: Count = 64,
    context: Context,
) -> dict[str, Value]:
    """The first ``rows`` scenes as plans of a square: measurements, targets, and the estimates above ``threshold`` or ``at``.

    Reads ``measurements`` [rows, points, 3] (x, y, step; below 0 where filled up), ``targets`` [rows, targets, 2] and ``alive``
    [rows, targets] (bool); the model gives ``of`` [rows, estimates, 3], positions with their probability of existence. Raises
    ``InputError`` for other columns or outputs.
    """
    chosen = data.select(torch.arange(min(rows, len(data))))
    columns = outputs_over(model, chosen, {}, input="measurements", batch_size=batch_size, context=context)
    whole = chosen.rows()
    missing = next((name for name in ("measurements", "targets", "alive") if name not in whole), None)
    if missing is not None:
        raise InputError(
            f"a scene has measurements, targets and alive; there is no '{missing}'", key=context.config_key
        )
    estimates = columns.get(of)
    if estimates is None or estimates.dim() != 3 or estimates.shape[-1] != 3:
        raise InputError(f"the model gives no '{of}' [rows, estimates, 3]", key=f"{context.config_key}.of")
    level = at if threshold is None else float(threshold)
    told = [_scene(whole, estimates[i], i, level) for i in range(len(chosen))]
    return {"shown": Value({"kind": "scenes", "scenes": told})}


def _scene(whole: dict[str, Tensor], estimates: Tensor, i: int, level: float) -> dict[str, Any]:
    measured = whole["measurements"][i]
    return {
        "row": int(whole["index"][i]),
        "measurements": _rounded(measured[measured[:, 2] >= 0]),
        "targets": _rounded(whole["targets"][i][whole["alive"][i].bool()]),
        "estimates": _rounded(estimates[estimates[:, 2] > level]),
    }


def _rounded(values: Tensor) -> list[list[float]]:
    return [[round(v, 3) for v in row] for row in values.double().tolist()]
