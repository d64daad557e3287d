"""Small scenes of point targets."""

from __future__ import annotations

from typing import Any

from kdrun.data.dataset import MemoryDataset
from kdrun.data.scenes import PointTargetScenes

__all__ = ["CLEAR", "SMALL", "split"]

SMALL = {
    "steps": 5,
    "interval": 0.2,
    "initial": 2.0,
    "births": 0.1,
    "clutter": 3.0,
    "max_targets": 6,
    "max_measurements": 48,
}
# Nobody is born, dies, hides or is invented.
CLEAR = {
    "births": 0.0,
    "deaths": 0.0,
    "detection": 1.0,
    "clutter": 0.0,
    "measurement_noise": 0.05,
    "process_noise": 0.1,
}


def split(count: int = 200, **options: Any) -> MemoryDataset:
    """The test split of small scenes with these options."""
    return PointTargetScenes(**{**SMALL, "test": count, **options}).load()["test"]
