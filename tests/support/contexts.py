"""The surroundings of a stage that is called by itself."""

from __future__ import annotations

import math
from pathlib import Path

from kdrun.runtime.checkpoints import Checkpoints
from kdrun.runtime.context import Context
from kdrun.runtime.hardware import Hardware
from kdrun.runtime.progress import Reporter

__all__ = ["stage_context"]


def stage_context(folder: Path | None = None) -> Context:
    """A stage on the processor; with a folder it saves a checkpoint there whenever it may, without one never."""
    hardware = Hardware({"device": "cpu", "precision": "fp32", "threads": 1, "workers": 0})
    checkpoints = Checkpoints(folder or Path("checkpoints"), "key")
    seconds = math.inf if folder is None else 0.0
    return Context("stage", "key", "graph.stage", 0, hardware, checkpoints, Reporter(), seconds)
