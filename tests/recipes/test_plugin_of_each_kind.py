"""One file of a user's own with a part of each kind, and a stage that speaks for itself: they do all that the shipped ones do."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdrun.errors import InputError
from kdrun.registry import BY_KINDS, KINDS, catalog_with
from support.recipes import write_recipe

PLUGIN = '''
from typing import Any

import torch
from torch import Tensor, nn

from kdrun.data.dataset import Column, DataInfo, Dataset, MemoryDataset
from kdrun.errors import InputError
from kdrun.graph.types import Fields
from kdrun.registry import (
    check_of, corrupt, data, fields_of, generate, gradient, initialize, label, merge, metric, mix, model, op, optimizer,
    partition, parts_of, plan_of, reduce, sampler, schedule, select, shape_of, show, solve, space, stage, strategy, tracker, transform,
)
from kdrun.runtime.artifacts import Model, Table, Tensors, Value
from kdrun.runtime.known import UNKNOWN, Planned

INFO = DataInfo({"image": Column((4,)), "label": Column((), torch.int64)}, classes=2, size=40)


@data(fields=("train", "test"))
class TwoClouds:
    """Two clouds of points."""

    def info(self):
        return {"train": INFO, "test": INFO}

    def load(self):
        draws = torch.Generator().manual_seed(1)
        label = torch.arange(40) % 2
        image = torch.randn(40, 4, generator=draws) + 2.0 * label.unsqueeze(1)
        return {name: MemoryDataset({"image": image, "label": label}, INFO) for name in ("train", "test")}


@model
class ScaledLinear(nn.Module):
    """A linear map of scaled inputs."""

    def __init__(self, *, num_classes: int | str = "auto", in_features: int | str = "auto", scale: float = 1.0) -> None:
        super().__init__()
        self.map, self.scale = nn.Linear(in_features, num_classes), scale

    def forward(self, image: Tensor) -> Tensor:
        return self.map(self.scale * image)


@op
def squared_error_of_one_hot(logits: Tensor, label: Tensor) -> Tensor:
    """Squared distance from one-hot labels."""
    return ((logits - nn.functional.one_hot(label, logits.shape[1])) ** 2).mean()


@op
def largest_rows(values: Tensor, *, threshold: float) -> Tensor:
    """As many rows as reach the threshold: their number depends on the values."""
    return values[torch.tensor([float(v.detach().max()) >= threshold for v in values])]


@shape_of("op", "largest_rows")
def largest_rows_shape(values: Tensor, *, threshold: float) -> Tensor:
    return values


@optimizer
def plain_descent(parameters: Any, *, lr: float) -> torch.optim.Optimizer:
    """Gradient descent."""
    return torch.optim.SGD(parameters, lr=lr)


@schedule
def halving(progress: Any) -> float:
    """Half the rate in each epoch."""
    return 0.5**progress.epoch


@gradient
def doubled(gradients: Any, parameters: Any) -> Any:
    """Twice the gradient."""
    return {name: 2 * value for name, value in gradients.items()}


@sampler
def backwards(data: Dataset, batch_size: int, *, generator: torch.Generator) -> Tensor:
    """Rows from the last to the first."""
    return torch.arange(len(data)).flip(0)


@transform
def shaken(batch: Any, *, generator: torch.Generator) -> Any:
    """A little noise."""
    noise = torch.randn(batch["image"].shape, generator=generator)
    return {**batch, "image": batch["image"] + 0.01 * noise}


@metric
def share_right(logits: Tensor, label: Tensor) -> float:
    """The share of rows whose largest logit is the label's."""
    return float((logits.argmax(1) == label).double().mean())


@reduce
def column_mean(data: Dataset, *, column: str = "image") -> Tensor:
    """The mean row."""
    return data.rows()[column].mean(0)


@label
def all_of_one_class(data: Dataset, *, value: int = 1) -> Dataset:
    """The same label everywhere."""
    return data.with_columns({"label": torch.full((len(data),), value)})


@select
def above_mean(data: Dataset, mean: Tensor) -> Dataset:
    """Rows whose first entry is above the mean's."""
    rows = data.rows()["image"]
    chosen = [i for i in range(len(data)) if float(rows[i, 0]) > float(mean[0])]
    return data.select(torch.tensor(chosen))


@mix
def end_to_end(*data: Dataset) -> Dataset:
    """One data set after the other."""
    rows = [one.rows() for one in data]
    columns = {n: torch.cat([r[n] for r in rows]) for n in ("image", "label")}
    return MemoryDataset(columns, DataInfo(data[0].info.columns, data[0].info.classes, len(columns["label"])))


@corrupt
def blanked(data: Dataset) -> Dataset:
    """Nothing is left of the inputs."""
    return data.with_columns({"image": torch.zeros(len(data), 4)})


@generate
def uniform_noise(data: Dataset, *, generator: torch.Generator) -> Tensor:
    """A random number for each row."""
    return torch.rand(len(data), generator=generator)


@initialize
def zeroed(model: nn.Module) -> nn.Module:
    """All weights are zero."""
    for parameter in model.parameters():
        parameter.data.zero_()
    return model


@merge
def mean_model(*models: nn.Module) -> nn.Module:
    """The mean of weights."""
    with torch.no_grad():
        for own, *others in zip(*(m.parameters() for m in models)):
            own.copy_(torch.stack([own, *others]).mean(0))
    return models[0]


@solve
def least_norm(mean: Tensor) -> Tensor:
    """A vector of length one."""
    return mean / mean.norm()


@partition(items="parts")
def odd_and_even(data: Dataset, *, parts: int = 2) -> list[Dataset]:
    """Every other row."""
    return [data.select(torch.arange(start, len(data), parts)) for start in range(parts)]


@show(fields=("shown",))
def first_lines(data: Dataset, *, rows: int = 3) -> dict[str, Value]:
    """The first rows as texts."""
    told = data.rows()["image"][:rows].tolist()
    return {"shown": Value({"kind": "texts", "rows": [{"row": i, "prompt": str(row), "answer": ""} for i, row in enumerate(told)]})}


@space
class Scales:
    """Linear maps at two scales."""

    def sample(self, generator: torch.Generator) -> Any:
        return {"model": "ScaledLinear", "scale": float(1 + torch.randint(2, (1,), generator=generator))}

    def mutate(self, spec: Any, generator: torch.Generator) -> Any:
        return self.sample(generator)


@strategy
def three_draws(space: Any, evaluate: Any, *, generator: torch.Generator) -> None:
    """Three random candidates."""
    for _ in range(3):
        evaluate(space.sample(generator))


class _Counting:
    def __init__(self, folder: Any) -> None:
        self.folder, self.said = folder, 0

    def log(self, values: Any, step: int, stage: str) -> None:
        self.said += len(values)

    def finish(self, summary: Any) -> None:
        self.folder.joinpath("said.txt").write_text(str(self.said))


@tracker
def counting(folder: Any, config: Any) -> _Counting:
    """Counts figures."""
    return _Counting(folder)


@stage
def walk(data: Dataset, *, turns: int, distance: dict | None = None, context: Any) -> dict[str, Any]:
    """A random walk from the mean row, kept after every turn."""
    found = context.resumed()
    begun, place = found if found else (0, data.rows()["image"].mean(0))
    draws = context.generator("walk")
    steps = torch.randn(turns, 4, generator=draws)
    for turn in range(begun, turns):
        if (stop := __import__("os").environ.get("STOP_WALK_AT")) and turn == int(stop):
            raise KeyboardInterrupt
        place = place + steps[turn]
        context.checkpoint(turn + 1, lambda: place)
    rows = [{"norm": float(place.norm()), "turns": turns - begun}]
    return {"place": Tensors({"": place}), "log": Table(rows)}


@fields_of("walk")
def walk_fields(node: Any) -> Fields:
    return Fields("tensor", {"place": "tensor", "log": "table"}, main="place")


@check_of("walk")
def walk_check(node: Any, graph: Any) -> None:
    if node.params["turns"] % 2:
        raise InputError("a walk takes an even number of turns", key=f"{node.key}.turns")


@parts_of("distance")
def walk_parts(content: Any, key: str) -> Any:
    yield "op", content["op"]


@plan_of("walk")
def walk_plan(node: Any, values: Any) -> Planned:
    return Planned({"place": Column((4,)), "log": UNKNOWN}, steps=node.params["turns"])
'''

RECIPE = """
data: {data: TwoClouds, augment: [{transform: shaken}]}
student: {model: ScaledLinear, num_classes: 2, in_features: 4}
optimizer: {optimizer: plain_descent, lr: 0.1, schedule: {schedule: halving}}
graph:
  mean: {stage: reduce, by: column_mean, from: {data: data.train}}
  unit: {stage: solve, by: least_norm, from: [mean]}
  high: {stage: select, by: above_mean, from: [data.train, mean]}
  ones: {stage: label, by: all_of_one_class, from: [high]}
  spoilt: {stage: corrupt, by: blanked, from: [data.train]}
  joined: {stage: mix, by: end_to_end, from: [data.train, ones, spoilt]}
  halves: {stage: partition, by: odd_and_even, from: [joined], parts: 2}
  noise: {stage: generate, by: uniform_noise, from: [data.train]}
  start: {stage: initialize, by: zeroed, from: [student]}
  fit:
    stage: train
    from: {student: start, data: halves.1, optimizer: optimizer}
    sampler: {sampler: backwards}
    step:
      nodes:
        s: {call: student, from: [batch.image]}
        rows: {op: largest_rows, from: [s.logits], threshold: -100.0}
        loss: {op: squared_error_of_one_hot, from: [rows, batch.label]}
      minimize: {loss: 1.0}
      train: [student]
      optimizer: optimizer
      gradient: [{gradient: doubled}]
    batch_size: 10
    epochs: 2
  both: {stage: merge, by: mean_model, from: [fit, start]}
  found:
    stage: search
    from: {data: data.train}
    space: {space: Scales}
    strategy: {strategy: three_draws}
    scores: {size: {nodes: {c: {call: candidate, from: [batch.image]}, l: {op: squared_error_of_one_hot, from: [c.logits, batch.label]}}, value: {l: -1.0}}}
  lines: {stage: show, by: first_lines, from: [data.test], rows: 2}
  walked: {stage: walk, from: {data: data.train}, turns: 4, distance: {op: squared_error_of_one_hot}}
  test: {stage: evaluate, from: {model: both, data: data.test}, metrics: [share_right]}
  seen: {stage: measure, from: {walked: walked, noise: noise, unit: unit}, metrics: [{metric: mean_value, from: [noise], name: noise}]}
results: [test, seen, found, walked]
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """The file with the parts."""
    file = tmp_path / "mine.py"
    file.write_text(PLUGIN)
    return file


@pytest.fixture
def ready(tmp_path, session, mine):
    """Make a session of the recipe with the plug-in."""
    recipe = write_recipe(tmp_path, RECIPE)
    return lambda *overrides: session(recipe, f"plugins=[{mine}]", "tracker.tracker=counting", *overrides)


def test_the_file_has_a_part_of_each_kind(mine) -> None:
    with catalog_with([str(mine)]) as found:
        kinds = {part.kind for part in found if part.file == str(mine)}
    assert kinds == {*KINDS, *BY_KINDS}


def test_they_check_plan_and_run_and_are_found_in_the_store_the_second_time(ready) -> None:
    first = ready()
    planned = {stage.name: stage for stage in first.plan().stages}
    assert planned["walked"].steps == 4
    assert planned["fit"].shapes["rows"] == [10, 2]
    assert planned["fit"].parameters == {"student": 10}
    ran, again = first.run(), ready().run()
    assert 0 <= ran.metrics["test.share_right"] <= 1
    assert ran.counts == {"computed": 16, "cached": 0}
    assert [row["row"] for row in ran.shown["lines"]["rows"]] == [0, 1]
    assert again.counts["computed"] == 0
    assert dict(again.metrics) == dict(ran.metrics)


def test_another_seed_draws_anew_where_a_part_draws(ready) -> None:
    ready().run()
    counts = ready("seed=1").run().counts
    assert counts["computed"] == len({"start", "noise", "fit", "both", "found", "walked", "test", "seen"})


def test_an_edited_part_is_computed_again_and_what_does_not_need_it_is_not(ready, mine) -> None:
    ready().run()
    mine.write_text(PLUGIN.replace("mean / mean.norm()", "2 * mean / mean.norm()"))
    assert ready().run().counts["computed"] == len({"unit", "seen"})


def test_an_op_that_only_a_parameter_names_is_in_the_key(ready, mine) -> None:
    before = ready().keys["walked"]
    mine.write_text(PLUGIN.replace("** 2).mean()", "** 2).sum()"))
    assert ready().keys["walked"] != before


def test_a_stage_says_what_is_wrong_before_anything_runs(ready) -> None:
    with pytest.raises(InputError, match="an even number of turns"):
        ready("walked.turns=3")


def test_a_stage_goes_on_where_it_was_cut_off_and_ends_with_the_same(ready, monkeypatch, tmp_path) -> None:
    whole = ready(f"store={tmp_path / 'other'}").run().metrics
    monkeypatch.setenv("STOP_WALK_AT", "3")
    with pytest.raises(KeyboardInterrupt):
        ready("checkpoint_seconds=0").run()
    monkeypatch.delenv("STOP_WALK_AT")
    resumed = ready("checkpoint_seconds=0").run().metrics
    assert resumed["walked.log.norm"] == whole["walked.log.norm"]
    assert (whole["walked.log.turns"], resumed["walked.log.turns"]) == (4, 1)
