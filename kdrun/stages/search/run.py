"""The ``search`` stage: a strategy proposes models from a space, and each is scored without training."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch

from kdrun.data.dataset import Dataset
from kdrun.errors import Diverged, InputError, nearest
from kdrun.grammar.nodes import Ref
from kdrun.grammar.steps import parse_step
from kdrun.models.building import build, resolve, sizes_from_data
from kdrun.registry import catalog, stage
from kdrun.runtime.artifacts import Artifact, Model, Table
from kdrun.runtime.context import Context
from kdrun.step.function import StepFunction
from kdrun.step.handed import Handed, compiler_for
from kdrun.types import Count

__all__ = ["search"]

Spec = dict[str, Any]


@stage(value="table", types={"best": "model", "candidates": "model"}, items={"candidates": "keep"})
def search(
    *,
    space: dict[str, Any],
    strategy: dict[str, Any],
    scores: dict[str, Any],
    score: str | None = None,
    keep: Count | None = None,
    repeats: Count = 1,
    max_parameters: Count | None = None,
    batch_size: Count = 64,
    context: Context,
    **inputs: Any,
) -> dict[str, Artifact]:
    """Let a ``strategy`` look for the model of ``space`` with the highest ``score`` on a batch of ``data``.

    Each of ``scores`` is a step graph without updates that calls ``candidate``, with the weights of its nodes in the sum
    (``{nodes: {...}, value: {distance: -1.0}}``), or a part ``{reduce: NAME}`` of a model and data. All are means over
    ``repeats`` draws of first weights and batches; ``score`` names the one that decides (else the first). Models above
    ``max_parameters`` are not proposed. The value is a table with one row a candidate, in the order of evaluation;
    ``best`` is the model, untrained, and ``candidates.0`` … the first ``keep``. An interrupted search goes on. A score that is NaN
    is below all others; raises ``Diverged`` where no candidate has another one.
    """
    data = inputs["data"]
    space_part = catalog().get("space", space["space"], key=f"{context.config_key}.space")
    proposals = _Capped(
        space_part.load()(**{k: v for k, v in space.items() if k != "space"}),
        max_parameters,
        sizes_from_data(data.info),
    )
    chosen = score or next(iter(scores))
    if chosen not in scores:
        raise InputError(f"there is no score '{chosen}'{nearest(chosen, scores)}", key=f"{context.config_key}.score")
    judges = {n: _judge(c, inputs, f"{context.config_key}.scores.{n}") for n, c in scores.items()}
    record = _Record(judges, chosen, repeats, batch_size, data, proposals, context)
    part = catalog().get("strategy", strategy["strategy"], key=f"{context.config_key}.strategy")
    options = {k: v for k, v in strategy.items() if k != "strategy"}
    part.load()(proposals, record.evaluate, generator=context.generator("strategy"), **options)
    if keep is not None and keep > len(record.rows):
        raise InputError(f"only {len(record.rows)} candidates were tried, fewer than {keep}", key=context.config_key)
    best = max(range(len(record.rows)), key=lambda i: _order(record.rows[i][chosen]))
    if math.isnan(record.rows[best][chosen]):
        raise Diverged(f"'{chosen}' is NaN of every candidate", key=f"{context.config_key}.scores.{chosen}")
    kept = {f"candidates.{i}": Model(record.specs[i], None) for i in range(keep or 0)}
    return {"": Table(record.rows), "best": Model(record.specs[best], None), **kept}


class _Capped:
    """A space without the models that are too large."""

    def __init__(self, space: Any, limit: int | None, sizes: Mapping[str, int]) -> None:
        self.space, self.limit, self.sizes = space, limit, sizes

    def parameters(self, spec: Spec) -> int:
        with torch.device("meta"):
            return sum(p.numel() for p in build(resolve(spec, self.sizes)).parameters())

    def sample(self, generator: torch.Generator) -> Spec:
        return self._allowed(lambda: self.space.sample(generator))

    def mutate(self, spec: Spec, generator: torch.Generator) -> Spec:
        return self._allowed(lambda: self.space.mutate(spec, generator))

    def _allowed(self, draw: Callable[[], Spec]) -> Spec:
        for _ in range(1000):
            spec = draw()
            if self.limit is None or self.parameters(spec) <= self.limit:
                return spec
        raise InputError(f"of 1000 proposals none has at most {self.limit} parameters")


def _order(score: float) -> tuple[bool, float]:
    """What candidates are compared by: a score that is no number comes after all others."""
    return (False, -math.inf) if math.isnan(score) else (True, float(score))


Judge = Callable[[Model, Dataset, Context], float]


class _Record:
    """Scores by candidate; a candidate that comes again is not scored again, nor one from before an interruption."""

    def __init__(
        self,
        judges: Mapping[str, Judge],
        chosen: str,
        repeats: int,
        batch_size: int,
        data: Dataset,
        space: _Capped,
        context: Context,
    ) -> None:
        self.judges, self.chosen, self.repeats, self.batch_size = judges, chosen, repeats, batch_size
        self.data, self.space, self.context = data, space, context
        self.specs: list[Spec] = []
        self.rows: list[dict[str, Any]] = []
        found = context.resumed()
        self.known: list[dict[str, Any]] = found[1] if found else []

    def evaluate(self, spec: Spec) -> float:
        """The deciding score of one candidate (higher is better)."""
        resolved = resolve(spec, self.space.sizes)
        if resolved in self.specs:
            return _order(self.rows[self.specs.index(resolved)][self.chosen])[1]
        number = len(self.rows)
        row = self.known[number] if number < len(self.known) else self._scored(resolved, number)
        self.specs.append(resolved)
        self.rows.append(row)
        if number >= len(self.known):
            self.context.checkpoint(number + 1, lambda: self.rows)
        self.context.reporter.advanced(self.context.name, number + 1, **{self.chosen: row[self.chosen]})
        return _order(row[self.chosen])[1]

    def _scored(self, spec: Spec, number: int) -> dict[str, Any]:
        row: dict[str, Any] = {"candidate": number, "parameters": self.space.parameters(spec)}
        for name, judge in self.judges.items():
            values = []
            for repeat in range(self.repeats):
                order = torch.randperm(len(self.data), generator=self.context.generator("batch", repeat))
                batch = self.data.select(order[: self.batch_size].sort().values)
                inner = dataclasses.replace(self.context, name=f"{self.context.name}/{repeat}")
                values.append(judge(Model(spec, None), batch, inner))
            row[name] = sum(values) / len(values)
        return row


def _judge(content: Mapping[str, Any], inputs: Mapping[str, Any], key: str) -> Judge:
    """A score as a function of candidate, batch and context."""
    if "nodes" not in content:
        part = catalog().get("reduce", content["reduce"], key=f"{key}.reduce")
        options = {k: v for k, v in content.items() if k != "reduce"}

        def by_part(candidate: Model, batch: Dataset, context: Context) -> float:
            more: dict[str, Any] = {"context": context} if "context" in part.injected else {}
            if "generator" in part.injected:
                more["generator"] = context.generator("score")
            given = {"model": dataclasses.replace(context, sizes=sizes_from_data(batch.info)).module(candidate)}
            return float(part.load()(**given, data=batch, **options, **more))

        return by_part
    step = parse_step({"nodes": content["nodes"]}, key=key)
    weights = content["value"]
    refs = [Ref.parse(name, key=f"{key}.value") for name in weights]

    def by_step(candidate: Model, batch: Dataset, context: Context) -> float:
        handed = Handed.sort({**inputs, "candidate": candidate, "data": batch}, context)
        found = handed.trace(step, {}, min(len(batch), 8))
        function = StepFunction(compiler_for(step, handed, found, context), refs)
        values = function.over(batch, batch_size=len(batch), context=context)
        return sum(float(w) * float(v) for w, v in zip(weights.values(), values, strict=True))

    return by_step
