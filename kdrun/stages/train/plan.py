"""Planning a ``train`` stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from kdrun.data.dataset import Column, few_left_over
from kdrun.grammar.nodes import Node, Ref
from kdrun.grammar.steps import step_of
from kdrun.registry import plan_of
from kdrun.runtime.known import UNKNOWN, Planned
from kdrun.stages.train.validated import main_role, validation_of
from kdrun.step.check import reader
from kdrun.step.plan import planned, trace_of

__all__ = ["plan"]


@plan_of("train")
def plan(node: Node, values: Mapping[str, Any]) -> Planned:
    """The step, how many of them there are, and the rows that a refresh counts."""
    refresh = node.params.get("refresh")
    read = reader(refresh.get("from"), key=f"{node.key}.refresh.from")[0] if refresh else []
    found = trace_of(node, values, [*read, *_read_by_validation(node)])
    one = planned(node, values, found)
    if found is None:
        return one
    rows, batch_size = values["data"].size, one.batch_size or 1
    fields = {**one.fields, "log": UNKNOWN, "cost": UNKNOWN}
    fields |= _of_validation(node, one.fields)
    if refresh:
        fields["chosen"] = Column((rows or batch_size,), torch.int64)
    notes = (*one.notes, *_small_last_batch(node.params, found.batch_statistics, rows, batch_size))
    return replace(one, fields=fields, steps=_steps(node.params, rows, batch_size), notes=notes)


def _read_by_validation(node: Node) -> list[Ref]:
    """What its metrics read of the step."""
    found = validation_of(node)
    return [] if found is None else [ref for metric in found[1] for ref in metric.refs]


def _of_validation(node: Node, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The best epoch, and the last weights where others are kept."""
    read = validation_of(node)
    if read is None or read[0].objective is None:
        return {}
    found: dict[str, Any] = {"best": UNKNOWN}
    if read[0].keep == "best":
        step = step_of(node)
        found |= {f"last.{role}": fields[role] for role in step.trained() if role in fields}
        found["last"] = fields[main_role(node.inputs if isinstance(node.inputs, dict) else {}, step)]
    return found


def _steps(params: Mapping[str, Any], rows: int | None, batch_size: int) -> int | None:
    if params.get("steps") is not None:
        return int(params["steps"])
    if rows is None:
        return None
    per_epoch = rows // batch_size if params.get("drop_last") else -(-rows // batch_size)
    return int(params.get("epochs") or 1) * per_epoch


def _small_last_batch(
    params: Mapping[str, Any], batch_statistics: bool, rows: int | None, batch_size: int
) -> list[str]:
    left = few_left_over(rows or 0, batch_size)
    if not left or not batch_statistics or params.get("drop_last"):
        return []
    return [f"batch statistics of the {left} rows in an epoch's last batch are noise: set drop_last: true"]
