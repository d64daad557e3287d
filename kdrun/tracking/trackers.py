"""The shipped trackers: local files, Weights & Biases, TensorBoard."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from kdrun.registry import tracker

__all__ = ["local", "tensorboard", "wandb"]


class _Lines:
    """Appends one JSON line an entry to ``metrics.jsonl``."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "metrics.jsonl"

    def log(self, values: Mapping[str, float], step: int, stage: str) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"stage": stage, "step": step, **values}) + "\n")

    def finish(self, summary: Mapping[str, float]) -> None:
        """Nothing: every line is on disk."""


@tracker
def local(folder: Path, config: dict[str, Any]) -> _Lines:
    """Figures as JSON lines in the run's folder."""
    return _Lines(folder)


class _WandbRun:
    """Wraps a Weights & Biases run; steps of different stages are kept apart by their own axis."""

    def __init__(self, run: Any) -> None:
        self.run = run
        self.stages: set[str] = set()

    def log(self, values: Mapping[str, float], step: int, stage: str) -> None:
        if stage not in self.stages:
            self.stages.add(stage)
            self.run.define_metric(f"{stage}/step", hidden=True)
            self.run.define_metric(f"{stage}/*", step_metric=f"{stage}/step")
        self.run.log({f"{stage}/step": step, **{f"{stage}/{k}": v for k, v in values.items()}})

    def finish(self, summary: Mapping[str, float]) -> None:
        self.run.summary.update(dict(summary))
        self.run.finish()


@tracker
def wandb(
    folder: Path,
    config: dict[str, Any],
    *,
    project: str = "kdrun",
    entity: str | None = None,
    mode: Literal["auto", "online", "offline"] = "auto",
) -> _WandbRun:
    """Weights & Biases; ``auto`` is offline where there is no key, and a run never waits for the network."""
    import wandb as library

    if mode == "auto":
        mode = "online" if os.environ.get("WANDB_API_KEY") or _has_login() else "offline"
    folder.mkdir(parents=True, exist_ok=True)
    settings = library.Settings(init_timeout=20, silent=True)
    run = library.init(project=project, entity=entity, mode=mode, dir=str(folder), config=config, settings=settings)
    return _WandbRun(run)


def _has_login() -> bool:
    path = Path(os.environ.get("NETRC") or "~/.netrc").expanduser()
    return path.is_file() and "api.wandb.ai" in path.read_text(errors="ignore")


class _Board:
    """Wraps a TensorBoard writer."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder / "tensorboard"))

    def log(self, values: Mapping[str, float], step: int, stage: str) -> None:
        for name, value in values.items():
            self.writer.add_scalar(f"{stage}/{name}", value, step)

    def finish(self, summary: Mapping[str, float]) -> None:
        for name, value in summary.items():
            self.writer.add_scalar(f"result/{name}", value)
        self.writer.close()


@tracker(extra="tensorboard")
def tensorboard(folder: Path, config: dict[str, Any]) -> _Board:
    """TensorBoard event files in the run's folder."""
    return _Board(folder)
