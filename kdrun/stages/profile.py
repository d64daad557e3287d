"""The ``profile`` stage: how large models are, what a row costs them, and how long they take on this machine."""

from __future__ import annotations

import inspect
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kdrun.data.dataset import Dataset
from kdrun.errors import InputError, nearest
from kdrun.grammar.nodes import Graph, Node, Ref
from kdrun.graph.types import value_type
from kdrun.models.masks import masks_of
from kdrun.registry import check_of, plan_of, stage
from kdrun.runtime.artifacts import Artifact, Model, Value
from kdrun.runtime.context import Context
from kdrun.runtime.known import UNKNOWN, Planned
from kdrun.step.flops import flop_counter
from kdrun.types import Count, Unsigned

__all__ = ["profile"]


@stage(value="value", types={"shown": "value"}, random=False, machine=True)
def profile(
    data: Dataset,
    *,
    scored: dict[str, str] | None = None,
    input: str = "image",
    batch_sizes: list[Count] = [1, 64],  # noqa: B006
    repeats: Count = 30,
    warmup: Unsigned = 5,
    context: Context,
    **inputs: Any,
) -> dict[str, Artifact]:
    """Size and speed of each model among ``inputs``, beside one another, for pages: ``shown`` is all that it gives.

    Of each: its parameters, the bytes of its weights and buffers as they are stored, the FLOPs of one row, forward (a multiplication
    with its addition is two), and by batch size the median of the milliseconds that a forward takes over ``repeats`` turns
    after ``warmup`` that are not counted; models take turns, so that what else the machine does meets all alike. Batches are
    rows of ``data``, on the device beforehand, the input under ``input``. ``scored`` says by which number of the run
    (``test.accuracy``) a model is judged, for drawings of that over its cost.

    Times are those of one machine: its name is part of the key, so that another one measures anew, and nothing else depends on
    them. Raises ``InputError`` where a model reads a column that the data has not.
    """
    modules = {name: context.module(value, role=name) for name, value in inputs.items() if isinstance(value, Model)}
    with context.hardware.evaluation(), torch.no_grad():
        calls = {
            size: {name: _call(module, data, size, input, context) for name, module in modules.items()}
            for size in dict.fromkeys([1, *batch_sizes])
        }
        flops = {name: _flops(call) for name, call in calls[1].items()}
        times = {size: _medians(calls[size], repeats, warmup, context.device) for size in batch_sizes}
    rows = [
        {
            "name": name,
            "parameters": sum(p.numel() for p in module.parameters()),
            "bytes": sum(t.numel() * t.element_size() for t in module.state_dict().values()),
            "flops": flops[name],
            "milliseconds": {str(size): found[name] for size, found in times.items()},
            "scored": (scored or {}).get(name, ""),
        }
        for name, module in modules.items()
    ]
    return {"shown": Value({"kind": "profile", "models": rows, "repeats": repeats, **_machine(context.device)})}


@check_of("profile")
def check(node: Node, graph: Graph) -> None:
    """Models are handed in by name beside the data, and ``scored`` names some of them."""
    named = node.inputs if isinstance(node.inputs, Mapping) else {}
    models = [n for n, r in named.items() if isinstance(r, Ref) and value_type(r, graph, key=node.key) == "model"]
    if not models:
        raise InputError(
            "profile compares models by name: {student: fit_student, data: data.test}", key=f"{node.key}.from"
        )
    for name in node.params.get("scored") or {}:
        if name not in models:
            raise InputError(f"no model is handed in as '{name}'{nearest(name, models)}", key=f"{node.key}.scored")


@plan_of("profile")
def plan(node: Node, values: Mapping[str, Any]) -> Planned:
    """Times are known only when it has run."""
    return Planned({"": UNKNOWN, "shown": UNKNOWN})


def _call(module: nn.Module, data: Dataset, size: int, input: str, context: Context) -> Callable[[], Any]:
    """A forward over ``size`` rows, which come again where the data has fewer."""
    rows = data.select(torch.arange(size) % len(data)).rows()
    column = input if input in data.info.columns else next(iter(data.info.columns))
    required = [
        p.name
        for p in list(inspect.signature(module.forward).parameters.values())[1:]
        if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]
    beside = {**{name: name for name in required}, **masks_of(module, data.info.columns, column)}
    lacking = next((other for other in beside.values() if other not in rows), None)
    if lacking is not None:
        raise InputError(f"a model reads '{lacking}', and the data has no such column", key=context.config_key)
    given = {word: rows[other].to(context.device) for word, other in beside.items()}
    first: Tensor = rows[column].to(context.device)
    return lambda: module(first, **given)


def _flops(call: Callable[[], Any]) -> int:
    with flop_counter() as counted:
        call()
    return int(counted.get_total_flops())


def _medians(
    calls: Mapping[str, Callable[[], Any]], repeats: int, warmup: int, device: torch.device
) -> dict[str, float]:
    """The median of the milliseconds of each call, which take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(warmup + repeats):
        for name, call in calls.items():
            started = _now(device)
            call()
            seconds[name].append(_now(device) - started)
    return {name: 1000 * statistics.median(found[warmup:]) for name, found in seconds.items()}


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _machine(device: torch.device) -> dict[str, Any]:
    """What took these times: the processor, or the accelerator, and the number of threads."""
    if device.type == "cuda":
        return {"machine": torch.cuda.get_device_name(device), "threads": torch.get_num_threads()}
    return {"machine": _processor(), "threads": torch.get_num_threads()}


def _processor() -> str:
    """The processor's name, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return named or platform.processor() or platform.machine()
