"""A model in training, scored on rows set aside for it: the best weights, and when there have been no better ones for long."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from kdrun.data.dataset import Dataset
from kdrun.errors import Diverged, InputError, nearest
from kdrun.grammar.validation import Validate
from kdrun.runtime.context import Context
from kdrun.stages.scoring import NodeMetric
from kdrun.step.compiler import Compiler
from kdrun.step.function import StepFunction

__all__ = ["Validation"]


class Validation:
    """Scores nodes of the step on the rows of ``said.rows``; compiled before the step's program.

    ``best`` is what there was at the best validation so far: its ``epoch``, ``step`` and ``score``, and with ``keep: best`` the
    ``weights``; empty before the first. ``since`` counts the validations after it.
    """

    def __init__(
        self, said: Validate, metrics: list[NodeMetric], compiler: Compiler, data: Dataset, size: int, *, key: str
    ) -> None:
        self.said, self.metrics, self.data, self.size, self.key = said, metrics, data, size, key
        self.refs = list(dict.fromkeys(ref for metric in metrics for ref in metric.refs))
        self.values = StepFunction(compiler, self.refs, loader=said.rows)
        columns = {column for _, loader, column in compiler.layout.columns if loader == said.rows} - {"index"}
        missing = sorted(columns - set(data.info.columns))
        if missing:
            have = ", ".join(data.info.columns)
            raise InputError(
                f"'{said.rows}' has no column '{missing[0]}', which is read there; it has: {have}", key=key
            )
        self.best: dict[str, Any] = {}
        self.since = 0

    def due(self, epoch: int, *, last: bool) -> bool:
        """Whether it is time for it after so many epochs."""
        return last or epoch % self.said.every == 0

    def scores(self, context: Context) -> dict[str, float]:
        """The metrics now, as columns behind the data's name; no random number of the training is drawn meanwhile."""
        with _drawing_nothing(self.values.compiler.generator, context.device):
            values = self.values.over(self.data, batch_size=self.size, context=context)
        found: dict[str, float] = {}
        for metric in self.metrics:
            found |= metric.score(dict(zip(self.refs, values, strict=True)))
        return {f"{self.said.rows}.{name}": value for name, value in found.items()}

    def judge(self, scores: Mapping[str, float], weights: Mapping[str, Any], *, epoch: int, step: int) -> None:
        """Compare with the best so far; ``weights`` are copied if they are to be kept. Raises ``InputError`` for an unknown objective, ``Diverged`` for NaN."""
        objective = self.said.objective
        if objective is None:
            return
        score = scores.get(f"{self.said.rows}.{objective.metric}")
        if score is None:
            known = [name.removeprefix(f"{self.said.rows}.") for name in scores]
            raise InputError(
                f"no metric gives '{objective.metric}'{nearest(objective.metric, known)}; there are: {', '.join(known)}",
                key=f"{self.key}.objective",
            )
        if math.isnan(score):
            raise Diverged(f"'{objective.metric}' of the rows to validate on is NaN after epoch {epoch}", key=self.key)
        sign = -1.0 if objective.goal == "minimize" else 1.0
        if self.best and not sign * score > sign * self.best["score"]:
            self.since += 1
            return
        kept = _on_cpu(weights) if self.said.keep == "best" else {}
        self.best, self.since = {"epoch": epoch, "step": step, "score": score, "weights": kept}, 0

    @property
    def over(self) -> bool:
        """Whether there has been no better one for as long as it is borne."""
        return self.said.patience is not None and self.since >= self.said.patience

    def row(self) -> dict[str, Any]:
        """The best validation as a row of a table: its epoch, its step, and the objective by name."""
        assert self.said.objective is not None
        return {**{k: self.best[k] for k in ("epoch", "step")}, self.said.objective.metric: self.best["score"]}

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"best": self.best, "since": self.since}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.best, self.since = dict(state["best"]), int(state["since"])


@contextmanager
def _drawing_nothing(generator: torch.Generator, device: torch.device) -> Iterator[None]:
    """Leave the streams of random numbers as they were."""
    before = generator.get_state()
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        try:
            yield
        finally:
            generator.set_state(before)


def _on_cpu(weights: Any) -> Any:
    if isinstance(weights, torch.Tensor):
        return weights.detach().to("cpu", copy=True)
    if isinstance(weights, Mapping):
        return {name: _on_cpu(value) for name, value in weights.items()}
    return [_on_cpu(value) for value in weights] if isinstance(weights, list) else copy.copy(weights)
