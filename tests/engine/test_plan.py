"""Planning traces what is alike once."""

from __future__ import annotations

from support.recipes import write_recipe

LOOPED = """
graph:
  parts: {stage: partition, by: random_parts, from: [data.train], parts: 3}
  fits: {foreach: {part: parts}, do: {fit: {stage: train, from: {model: student, data: part, optimizer: optimizer}, step: supervised, epochs: 1}}}
  scores: {foreach: {model: fits}, do: {score: {stage: evaluate, from: [model, data.test], metrics: [accuracy]}}}
"""


def test_the_passes_of_a_loop_are_traced_once(session, tmp_path, monkeypatch) -> None:
    from kdrun.step import plan

    traced, trace = [], plan.trace
    monkeypatch.setattr(plan, "trace", lambda *a, **k: traced.append(1) or trace(*a, **k))
    stages = {s.name: s for s in session(write_recipe(tmp_path, LOOPED), "data.limit=60").plan().stages}
    assert len(traced) == 1
    assert stages["fits[0].fit"].flops == stages["fits[2].fit"].flops > 0
