"""``profile``: the size, FLOPs and time of models, as they are, and keyed by the machine."""

from __future__ import annotations

import platform

import pytest
import torch
from safetensors.torch import save

from kdrun.data.dataset import MemoryDataset
from kdrun.errors import InputError
from kdrun.runtime.artifacts import Model
from kdrun.stages.profile import profile
from support.contexts import stage_context
from support.data import dataset
from support.recipes import QUICK

ROWS = dataset(3, image=torch.rand(5, 4), label=torch.arange(5) % 3)
WIDE = Model({"model": "mlp", "hidden": [256, 256], "num_classes": 3, "in_features": 4}, None)
SMALL = Model({"model": "mlp", "hidden": [], "num_classes": 3, "in_features": 4}, None)


def told(data: MemoryDataset = ROWS, **given):
    return profile(data, repeats=5, warmup=1, context=stage_context(), **given)["shown"].value


def test_parameters_bytes_and_flops_are_those_of_the_maps() -> None:
    found = told(small=SMALL, wide=WIDE, scored={"small": "test.accuracy"})
    small, wide = found["models"]
    assert (small["name"], small["scored"], wide["scored"]) == ("small", "test.accuracy", "")
    assert small["parameters"] == 4 * 3 + 3
    assert wide["parameters"] == (4 * 256 + 256) + (256 * 256 + 256) + (256 * 3 + 3)
    assert (small["flops"], wide["flops"]) == (2 * 4 * 3, 2 * (4 * 256 + 256 * 256 + 256 * 3))
    weights = stage_context().module(SMALL).state_dict()
    assert small["bytes"] == sum(len(save({"": value})) - len(save({"": value[:0]})) for value in weights.values())
    assert found["threads"] == torch.get_num_threads()


def test_times_are_positive_one_for_each_batch_size_and_more_work_takes_longer() -> None:
    small, wide = told(small=SMALL, wide=WIDE, batch_sizes=[1, 4096])["models"]
    assert list(small["milliseconds"]) == list(wide["milliseconds"]) == ["1", "4096"]
    assert small["milliseconds"]["1"] > 0
    assert small["milliseconds"]["4096"] < wide["milliseconds"]["4096"]  # a thousandth of the work


def test_what_is_no_model_is_refused_before_anything_runs(session) -> None:
    with pytest.raises(InputError, match=r"scored: no model is handed in as 'big'"):
        session("kd", "+add=profile", "+graph.profile.scored.big=test.accuracy")
    with pytest.raises(InputError, match="profile compares models by name"):
        session("kd", "+graph.speed={stage: profile, from: [data.test]}")


def test_another_machine_measures_anew_and_nothing_else_does(session, monkeypatch) -> None:
    here = session("kd", *QUICK, "+add=profile")
    keys = {n.name: here.keys[n.name] for n in here.graph.stages()}
    monkeypatch.setattr(platform, "node", lambda: "elsewhere")
    there = session("kd", *QUICK, "+add=profile")
    assert {name for name in keys if there.keys[name] != keys[name]} == {"profile"}


def test_asking_for_it_adds_no_metric_and_leaves_other_results_as_they_were(session) -> None:
    plain, asked = session("kd", *QUICK), session("kd", *QUICK, "+add=profile")
    assert {n: plain.keys[n] for n in plain.graph.nodes} == {n: asked.keys[n] for n in plain.graph.nodes}
    outcome = asked.run()
    assert not [label for label in outcome.metrics if label.startswith("profile")]
    student = next(one for one in outcome.shown["profile"]["models"] if one["name"] == "student")
    assert student["parameters"] == outcome.budget.parameters
