"""Frozen models of a step made cheaper, as far as the hardware group says and what the step reads of them allows."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from kdrun.grammar.steps import Step, StepNode
from kdrun.models.lowering import fold_batch_norms, reduce_weights
from kdrun.models.taps import resolve_tap
from kdrun.runtime.context import Context

__all__ = ["lower"]


def lower(module: nn.Module, role: str, step: Step, context: Context) -> None:
    """Fold batch norms (``hardware.fold_frozen``) and reduce weights (``hardware.frozen_precision: bf16``), in place.

    A model whose parameters are read, or that is called in training mode, stays as it is. What a step taps, patches, calls by itself or
    stops at is not folded. Says so where nothing could be folded.
    """
    settings = context.hardware.settings
    calls = [node for node in step.nodes.values() if node.node.verb == "call" and node.role == role]
    read = any(ref.name == role for node in step.nodes.values() for ref in node.node.refs())
    if not calls or read or any(call.mode == "train" for call in calls):
        return
    if settings.get("fold_frozen"):
        kept = [inner for call in calls for inner in _named(module, call)]
        try:
            fold_batch_norms(module, kept)
        except ValueError as error:
            context.reporter.message(f"{context.name}: the batch norms of {role} stay as they are: {error}")
    if settings.get("frozen_precision", "fp32") == "bf16":
        reduce_weights(module, torch.bfloat16)


def _named(module: nn.Module, call: StepNode) -> Iterator[nn.Module]:
    """The modules at which a call reads, writes, begins or ends."""
    for path in filter(None, [*call.taps.values(), *call.patch, call.until, call.inner]):
        yield resolve_tap(module, path)[0]
