"""The shipped trackers: local files, Weights & Biases, TensorBoard."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from kdrun.registry import tracker

__all__ = ["local", "steps_told", "tensorboard", "wandb"]


LINES = "metrics.jsonl"
"""Where the local tracker keeps figures."""


def steps_told(folder: Path) -> list[tuple[str, int]]:
    """The stages and steps whose figures stand in a run's folder; a line that was not written to its end does not count."""
    found = []
    with contextlib.suppress(OSError):
        for line in (folder / LINES).read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                entry = json.loads(line)
                found.append((str(entry["stage"]), int(entry["step"])))
    return found


class _Lines:
    """Appends one JSON line an entry to ``metrics.jsonl``; what a dead process left of a last line is dropped."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LINES
        if self.path.is_file() and not (text := self.path.read_text(encoding="utf-8", errors="replace")).endswith("\n"):
            self.path.write_text(text.rpartition("\n")[0] + "\n" * ("\n" in text), encoding="utf-8")

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
        place = stage.replace(".", "_")  # a dot would make the axis an entry of another metric, and it would never move
        if place not in self.stages:
            self.stages.add(place)
            self.run.define_metric(f"{place}/step", hidden=True)
            self.run.define_metric(f"{place}/*", step_metric=f"{place}/step")
        self.run.log({f"{place}/step": step, **{f"{place}/{k.replace('.', '_')}": v for k, v in values.items()}})

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
    """Weights & Biases; ``auto`` is offline where there is no key, and a run never waits for the network.

    A run is named after its arm, or method, its seed and what else was said; its group is the recipe, its tags are arm, scale, method
    and seed. One that goes on after an interruption goes on in its log.
    """
    import wandb as library

    if mode == "auto":
        mode = "online" if os.environ.get("WANDB_API_KEY") or _has_login() else "offline"
    folder.mkdir(parents=True, exist_ok=True)
    settings = library.Settings(init_timeout=20, silent=True)
    run = library.init(
        project=project,
        entity=entity,
        mode=mode,
        dir=str(folder),
        config=config,
        settings=settings,
        **_identity(config),
    )
    return _WandbRun(run)


def _identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """Name, group, tags and identifier of a run in Weights & Biases, from what the configuration says under ``run``."""
    about = config.get("run") or {}
    if not about:
        return {}
    seed = f"seed {about.get('seed')}"
    apart = ("arm=", "scale=", "seed=", "store=", "runs=", "tracker", "hardware", "launcher=", "plugins=", "recipes=")
    said = [text for text in about.get("overrides") or () if not text.startswith(apart)]
    tags = [str(about[name])[:64] for name in ("arm", "scale", "method") if about.get(name)]
    name = " ".join([str(about.get("arm") or about.get("method") or about.get("recipe")), seed, *said])[:128]
    known = {"id": about.get("id"), "resume": "allow"} if about.get("id") else {}
    return {"name": name, "group": about.get("recipe"), "tags": [*dict.fromkeys(tags), seed], **known}


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
