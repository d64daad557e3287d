"""``search``: strategies, limits, resuming."""

from __future__ import annotations

import pytest
import torch

from kdrun.errors import InputError
from kdrun.grammar.nodes import Ref
from kdrun.stages.search.run import _Capped
from kdrun.stages.search.strategies import aging_evolution, random_search
from support.models import choice_space
from support.recipes import write_recipe

SEARCH = """
graph:
  found:
    stage: search
    from: {teacher: teacher, data: data.train}
    space: {space: choices, model: {model: staged_network}, choices: {depths: [[1, 2], [1, 2]], kernels: [[1, 3], [3]], widths: [[4, 8], [8]], skip: [true, false]}}
    strategy: {strategy: random_search, evaluations: 25}
    scores:
      alike:
        nodes:
          s: {call: candidate, from: [batch.image], taps: {map: map}, mode: train, grad: false}
          t: {call: teacher, from: [batch.image], taps: {map: map}, mode: train, grad: false}
          apart: {op: similarity_preserving_loss, from: [s.map, t.map]}
        value: {apart: -1.0}
      size: {reduce: parameter_total}
    score: size
    keep: 3
    repeats: 2
    max_parameters: 3000
  fit: {stage: train, from: {model: found.best, data: data.train, optimizer: optimizer}, step: supervised, epochs: 1}
  kept: {foreach: {arch: found.candidates}, do: {test: {stage: evaluate, from: [arch, data.test], metrics: [accuracy]}}}
  test: {stage: evaluate, from: [fit, data.test], metrics: [accuracy]}
"""


def test_a_search_is_resumed_and_its_best_is_trained(session, tmp_path, interrupted) -> None:
    path = write_recipe(tmp_path, SEARCH)
    calm = session(path, "data.limit=64")
    calm.plan()
    calm.run()
    rows = calm.executor.result("found")[""].rows
    assert [row["candidate"] for row in rows] == list(range(len(rows)))
    assert all(row["size"] == row["parameters"] <= 3000 for row in rows)
    assert len({row["alike"] for row in rows}) > 1
    best = calm.executor.value(Ref("found", ("best",)))
    sizes = calm.executor.value(Ref("fit")).state
    assert sum(v.numel() for k, v in sizes.items() if "running" not in k and "num_batches" not in k) == max(
        row["size"] for row in rows
    )
    assert best.state is None
    broken = session(path, "data.limit=64", f"store={tmp_path / 'other'}", "checkpoint_seconds=0")
    with interrupted(20):
        broken.executor.result("found")
    again = session(path, "data.limit=64", f"store={tmp_path / 'other'}")
    assert again.executor.result("found")[""].rows == rows


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("value: {apart: -1.0}", "value: {aprt: -1.0}"), "apart"),
        (("{reduce: parameter_total}", "{reduce: parameter_totl}"), "parameter_total"),
        (("call: candidate", "call: candidat"), "candidate"),
        (("space: choices", "space: choises"), "choices"),
        (("{reduce: parameter_total}", "{other: 1}"), "a score reads"),
    ],
)
def test_wrong_searches_are_found_before_anything_runs(session, tmp_path, change, message) -> None:
    with pytest.raises(InputError, match=message):
        session(write_recipe(tmp_path, SEARCH.replace(*change))).plan()


def test_evolution_finds_the_best_of_a_smooth_score() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = []

    def evaluate(spec) -> float:
        scores.append(sum(spec["depths"]) + sum(spec["kernels"]) + spec["widths"][0] - spec["skip"])
        return scores[-1]

    aging_evolution(choice_space(), evaluate, population=10, tournament=5, evaluations=80, generator=generator)
    assert len(scores) == 80
    assert max(scores) == 6 + 6 + 8
    assert sum(scores[40:]) > sum(scores[:40])


def test_random_search_tries_no_candidate_twice() -> None:
    seen = []
    random_search(
        choice_space(),
        lambda spec: seen.append(spec) or 0.0,
        evaluations=40,
        generator=torch.Generator().manual_seed(0),
    )
    assert len(seen) == 40
    assert all(seen.count(spec) == 1 for spec in seen)


def test_what_is_too_large_is_not_proposed() -> None:
    sizes = {"num_classes": 3, "in_channels": 1}
    capped = _Capped(choice_space(), 1500, sizes)
    generator = torch.Generator().manual_seed(0)
    assert all(capped.parameters(capped.sample(generator)) <= 1500 for _ in range(10))
    with pytest.raises(InputError, match="none has at most"):
        _Capped(choice_space(), 1, sizes).sample(generator)
