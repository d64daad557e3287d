"""Trackers: where figures go while a run is under way."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def start_trackers(config: dict[str, Any], folder: Path) -> Any:
    return None
