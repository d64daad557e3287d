"""The shipped trackers: local files, Weights & Biases, TensorBoard, MLflow."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from kdrun.registry import tracker

__all__ = ["local", "mlflow", "steps_told", "tensorboard", "wandb"]


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
    # Git is not asked, and no code sent: the working folder's own .git could name programs, and the run's records say the commit.
    settings = library.Settings(init_timeout=20, silent=True, disable_git=True, disable_code=True)
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
    apart = (
        "arm=",
        "scale=",
        "seed=",
        "store=",
        "runs=",
        "tracker",
        "hardware",
        "launcher=",
        "sweeper=",
        "plugins=",
        "recipes=",
    )
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


class _MlflowRun:
    """Wraps a run at MLflow; the name of the stage stands before that of a figure."""

    def __init__(self, client: Any, run: str) -> None:
        self.client, self.run = client, run

    def log(self, values: Mapping[str, float], step: int, stage: str) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        found = [Metric(_mlflow_name(f"{stage}/{name}"), value, now, step) for name, value in values.items()]
        self.client.log_batch(self.run, metrics=found)

    def finish(self, summary: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        found = [Metric(_mlflow_name(name), value, now, 0) for name, value in summary.items()]
        self.client.log_batch(self.run, metrics=found[:1000])
        self.client.set_terminated(self.run, "FINISHED" if summary else "FAILED")


def _mlflow_name(text: str) -> str:
    """Letters, digits and the signs that MLflow takes in a name."""
    return re.sub(r"[^\w./ :-]", "_", text)


@tracker(extra="mlflow")
def mlflow(
    folder: Path, config: dict[str, Any], *, uri: str | None = None, experiment: str | None = None
) -> _MlflowRun:
    """MLflow, at ``uri`` or ``MLFLOW_TRACKING_URI``; without one, in the run's folder: ``mlflow ui --backend-store-uri sqlite:///FOLDER/mlflow.db``.

    The experiment is the recipe, unless one is named; a run has name and tags as at Weights & Biases, its settings as parameters, and goes on
    in its own log after an interruption.
    """
    from mlflow.entities import Param
    from mlflow.tracking import MlflowClient

    folder.mkdir(parents=True, exist_ok=True)
    own = uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder.resolve()}/mlflow.db"
    client, about, identity = MlflowClient(tracking_uri=own), config.get("run") or {}, _identity(config)
    name = experiment or str(about.get("recipe") or "kdrun")
    known = client.get_experiment_by_name(name)
    place = None if uri or "MLFLOW_TRACKING_URI" in os.environ else (folder / "mlflow").resolve().as_uri()
    number = known.experiment_id if known else client.create_experiment(name, artifact_location=place)
    mark = str(about.get("id") or "")
    earlier = client.search_runs([number], f"tags.kdrun_id = '{mark}'", max_results=1) if mark else []
    if earlier:
        return _MlflowRun(client, earlier[0].info.run_id)
    tags = {
        "kdrun_id": mark,
        **{n: str(about[n]) for n in ("recipe", "arm", "scale", "method", "seed") if about.get(n) is not None},
    }
    run = client.create_run(number, run_name=identity.get("name"), tags=tags).info.run_id
    settings = [Param(_mlflow_name(k)[:250], str(v)[:500]) for k, v in _flat(config).items()]
    for start in range(0, len(settings), 100):
        client.log_batch(run, params=settings[start : start + 100])
    return _MlflowRun(client, run)


def _flat(content: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Settings by dotted name, without the graph and what is said of the run."""
    found: dict[str, Any] = {}
    for name, value in content.items():
        if before or name not in ("graph", "steps", "run", "arms", "scales", "claims", "paper"):
            found |= _flat(value, f"{before}{name}.") if isinstance(value, Mapping) else {f"{before}{name}": value}
    return found
