"""Words of the run graph: computed values, searches, optimized inputs, black boxes, whole-node overrides, samplers."""

from __future__ import annotations

import pytest
import torch

from kdrun.errors import InputError
from kdrun.grammar.nodes import Ref

HEADER = "# @package _global_\ndefaults: [{override /protocol: null}, {override /transfer: null}]\n"


def recipe(tmp_path, body: str) -> str:
    path = tmp_path / "own.yaml"
    path.write_text(HEADER + body)
    return str(path)


COMPUTED = """
graph:
  fit: {stage: train, from: {model: student, data: data.train, optimizer: optimizer}, step: supervised, epochs: 1}
  values:
    stage: compute
    from: {model: fit, data: data.test}
    step: {nodes: {s: {call: model, from: [batch.image], taps: {feature: feature}}, said: {op: hard_label, from: [s.logits]}}}
    of: [s.logits, said, s.feature]
  again: {stage: predict, from: [fit, data.test]}
  rows: {stage: label, by: column_values, from: [data.test, values.said], column: said}
  parts: {stage: partition, by: by_class, from: [rows], groups: 2, column: said}
  counted: {foreach: {part: parts}, do: {score: {stage: evaluate, from: [fit, part], metrics: [accuracy]}}}
  scores:
    stage: measure
    from: {values: values, again: again, table: counted}
    metrics:
      - {metric: mean_squared_distance, from: [values, again], name: apart}
      - {metric: mean_value, from: [table.accuracy], name: mean}
arms:
  plain: {}
  other: {counted: {stage: evaluate, from: [fit, data.test], metrics: [accuracy]}, skip: [scores]}
"""


def test_computed_values_are_those_of_predict_and_make_parts(session, tmp_path) -> None:
    path = recipe(tmp_path, COMPUTED)
    ready = session(path, "data.limit=256")
    shapes = {s.name: s.notes for s in ready.plan().stages}
    assert shapes["values"] == ()
    metrics = ready.run().metrics
    assert metrics["scores.apart"] == 0
    said = ready.executor.value(Ref("values", ("said",)))
    parts = [ready.executor.value(Ref("parts", (str(i),))).column("said") for i in range(2)]
    assert sorted(torch.cat(parts).tolist()) == sorted(said.tolist())
    assert parts[0].max() < parts[1].min()
    tables = [ready.executor.result(f"counted[{i}].score")[""].rows[0]["accuracy"] for i in range(2)]
    assert metrics["scores.mean"] == pytest.approx(sum(tables) / 2)


def test_a_whole_node_takes_the_place_of_the_old_one(session, tmp_path) -> None:
    ready = session(recipe(tmp_path, COMPUTED), "data.limit=64", arm="other")
    assert "counted" in ready.graph.nodes
    assert not any(name.startswith("counted[") for name in ready.graph.nodes)
    other = session("hard", "fit_student.models.augmentor={model: mask_mixer}", arm="kd")
    assert other.config["graph"]["fit_student"]["models"]["augmentor"] == {"model": "mask_mixer"}


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
    path = recipe(tmp_path, SEARCH)
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
        session(recipe(tmp_path, SEARCH.replace(*change))).plan()


INVERTED = """
graph:
  target: {stage: train, from: {model: teacher, data: data.train, optimizer: optimizer}, step: supervised, epochs: 4}
  box: {stage: initialize, by: opaque, from: [target]}
  wanted: {stage: generate, by: class_requests, classes: 10, per_class: 2}
  inverted:
    stage: train
    from: {target: target, data: wanted}
    models: {latents: {model: row_vectors, features: 64}}
    step:
      nodes:
        z: {call: latents, from: [batch.index]}
        x: {op: reshape_rows, from: [z], shape: [1, 8, 8]}
        s: {call: target, from: [x]}
        margin: {op: max_margin_loss, from: [s.logits, batch.label]}
      updates: {main: {minimize: {margin: 1.0}, train: [latents], optimizer: {optimizer: adam, lr: 0.1}}}
    steps: 40
    batch_size: 20
  asked:
    stage: train
    from: {student: student, target: box, data: data.train, optimizer: optimizer}
    step:
      nodes:
        said: {call: target, from: [batch.image]}
        s: {call: student, from: [batch.image]}
        ce: {op: cross_entropy, from: [s.logits, said.label]}
      updates: {main: {minimize: {ce: 1.0}, train: [student], optimizer: optimizer}}
    steps: 3
    batch_size: 32
  cost: {stage: summarize, from: [[asked.cost]], columns: {queries: [sum]}}
results: [inverted]
"""


def test_inputs_are_optimized_and_a_black_box_counts(session, tmp_path) -> None:
    ready = session(recipe(tmp_path, INVERTED), "data.limit=256")
    ready.plan()
    metrics = ready.run().metrics
    assert metrics["cost.queries.sum"] == 96
    log = ready.executor.result("inverted")["log"].rows
    assert log[-1]["margin"] < 0 < log[0]["margin"]
    with pytest.raises(InputError, match="has no field 'logits'"):
        session(recipe(tmp_path, INVERTED.replace("said.label", "said.logits")), "data.limit=256").plan()


SAMPLED = """
data: {per_domain: 20, source_domains: 3}
graph:
  fit: {stage: train, from: {model: student, data: data.train, optimizer: optimizer}, step: supervised, epochs: 2, batch_size: 8, sampler: {sampler: one_group_a_batch}}
  test: {stage: evaluate, from: [fit, data.test.0], metrics: [accuracy]}
"""


def test_a_sampler_decides_the_batches(session, tmp_path) -> None:
    header = "defaults: [{override /protocol: null}, {override /transfer: null}, {override /data: domain_glyphs}]\n"
    path = recipe(tmp_path, SAMPLED)
    (tmp_path / "own.yaml").write_text("# @package _global_\n" + header + SAMPLED)
    ready = session(path)
    ready.plan()
    ready.run()
    assert [row["step"] for row in ready.executor.result("fit")["log"].rows] == [6, 12]
    with pytest.raises(InputError, match="sampler"):
        session(path, "+graph.fit.shuffle=false").run()


LOOPED = """
graph:
  parts: {stage: partition, by: random_parts, from: [data.train], parts: 3}
  fits: {foreach: {part: parts}, do: {fit: {stage: train, from: {model: student, data: part, optimizer: optimizer}, step: supervised, epochs: 1}}}
  scores: {foreach: {model: fits}, do: {score: {stage: evaluate, from: [model, data.test], metrics: [accuracy]}}}
"""


def test_the_passes_of_a_loop_are_traced_once(session, tmp_path, monkeypatch) -> None:
    from kdrun.engine import plan

    traced, trace = [], plan.trace
    monkeypatch.setattr(plan, "trace", lambda *a, **k: traced.append(1) or trace(*a, **k))
    stages = {s.name: s for s in session(recipe(tmp_path, LOOPED), "data.limit=60").plan().stages}
    assert len(traced) == 1
    assert stages["fits[0].fit"].flops == stages["fits[2].fit"].flops > 0
