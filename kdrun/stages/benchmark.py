"""The ``benchmark`` stage: how long nodes of a step graph take."""

from __future__ import annotations

import time
from typing import Any

import torch

from kdrun.errors import InputError, nearest
from kdrun.grammar.nodes import Ref
from kdrun.grammar.steps import parse_step
from kdrun.registry import stage
from kdrun.runtime.artifacts import Artifact, Table
from kdrun.runtime.context import Context
from kdrun.step.handed import Handed, compiler_for
from kdrun.types import Count

__all__ = ["benchmark"]


@stage(value="table")
def benchmark(
    *,
    step: dict[str, Any],
    nodes: list[str],
    models: dict[str, Any] | None = None,
    batch_size: Count = 512,
    repeats: Count = 100,
    context: Context,
    **inputs: Any,
) -> dict[str, Artifact]:
    """Least seconds that each of ``nodes``, with all it depends on, takes over one pass of ``data``: one row, one column a node.

    Batches lie ready on the device; the nodes take turns, ``repeats`` times after one pass that is not counted, without
    gradients. The least time is the one that other work on the machine disturbed least; it is of one machine, so compare
    numbers of one table only.
    Raises ``InputError`` for a node that the step has not.
    """
    parsed = parse_step(step, key=f"{context.config_key}.step")
    unknown = next((name for name in nodes if name not in parsed.nodes), None)
    if unknown is not None:
        raise InputError(
            f"the step has no node '{unknown}'{nearest(unknown, parsed.nodes)}", key=f"{context.config_key}.nodes"
        )
    handed = Handed.sort(inputs, context)
    found = handed.trace(parsed, dict(models or {}), min(batch_size, 8))
    compiler = compiler_for(parsed, handed, found, context)
    programs = {name: compiler.function([Ref(name)])[0] for name in nodes}
    batches = list(handed.loaders["data"].batches(batch_size, device=context.device, workers=context.hardware.workers))
    seconds: dict[str, list[float]] = {name: [] for name in nodes}
    layout = compiler.layout
    with context.hardware.evaluation(), torch.no_grad():
        for _ in range(repeats + 1):
            for name, program in programs.items():
                started = _now(context.device)
                for batch in batches:
                    r = layout.filled(batch)
                    for function, given, out in program:
                        r[out] = function(*[r[i] for i in given])
                seconds[name].append(_now(context.device) - started)
    return {"": Table([{name: min(times[1:]) for name, times in seconds.items()}])}


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
