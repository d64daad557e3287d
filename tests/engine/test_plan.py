"""Planning traces what is alike once."""

from __future__ import annotations

from kdrun.registry import catalog
from support.recipes import QUICK, write_recipe

LOOPED = """
graph:
  parts: {stage: partition, by: random_parts, from: [data.train], parts: 3}
  fits: {foreach: {part: parts}, do: {fit: {stage: train, from: {model: student, data: part, optimizer: optimizer}, step: supervised, epochs: 1}}}
  scores: {foreach: {model: fits}, do: {score: {stage: evaluate, from: [model, data.test], metrics: [accuracy]}}}
"""


def watched(monkeypatch) -> list[int]:
    """Grows by one with every trace; none was made before."""
    from kdrun.step import trace

    traced, own = [], trace.trace
    monkeypatch.setattr(trace, "trace", lambda *a, **k: traced.append(1) or own(*a, **k))
    monkeypatch.setattr(catalog(), "memo", {})
    return traced


def test_the_passes_of_a_loop_are_traced_once(session, tmp_path, monkeypatch) -> None:
    traced = watched(monkeypatch)
    stages = {s.name: s for s in session(write_recipe(tmp_path, LOOPED), "data.limit=60").plan().stages}
    assert len(traced) == 1
    assert stages["fits[0].fit"].flops == stages["fits[2].fit"].flops > 0


def test_runs_of_other_seeds_and_stages_of_equal_steps_trace_none_anew(session, tmp_path, monkeypatch) -> None:
    traced = watched(monkeypatch)
    recipe = write_recipe(tmp_path, LOOPED)
    session(recipe, "data.limit=60").run()
    first = len(traced)
    session(recipe, "data.limit=60", "seed=1").run()
    assert (first, len(traced)) == (2, 2)  # planned with a whole batch, run with a small one
    session(recipe, "data.limit=60", "student.channels=[4, 4]").run()
    assert len(traced) == 4


def test_a_stage_like_another_one_is_planned_once_and_named_by_itself(session) -> None:
    run = session("kd", *QUICK, "+graph.again={like: test}")
    names = [stage.name for stage in run.plan().stages]
    assert len(set(names)) == len(names)
    assert set(names) <= set(run.graph.nodes)
