"""``train``: rows chosen anew, state, turns, stored answers, samplers, learned inputs, refreshed banks."""

from __future__ import annotations

import pytest
import torch

from kdrun.errors import Diverged, InputError
from kdrun.grammar.nodes import Ref
from kdrun.runtime.checkpoints import Checkpoints
from kdrun.step.program import StepProgram
from support.recipes import ALONE, write_recipe

CHOSEN = """
epochs: 1
graph:
  fit:
    stage: train
    from: {model: student, data: data.train, optimizer: optimizer}
    step:
      state:
        seen: {op: constant, shape: [1], value: 0.5}
        bank: {op: unit_rows, rows: auto, features: 8}
      nodes:
        s: {call: model, from: [batch.image], taps: {feature: feature}}
        partners: {op: random_partners, from: [batch.index, bank], count: 4}
        e: {call: embed, from: [s.feature]}
        ce: {op: cross_entropy, from: [s.logits, batch.label]}
        bank_loss: {op: memory_contrastive_loss, from: [e, e, bank, bank, batch.index, partners]}
      updates:
        main: {minimize: {ce: 1.0, bank_loss: 0.1}, train: [model, embed], optimizer: optimizer}
    models: {embed: {model: normalised_linear, out_features: 8}}
    refresh: {op: random_rows, from: [s.logits], share: {schedule: linear, start: 0.6, end: 0.3}, every: 2}
    epochs: 3
  test: {stage: evaluate, from: [fit, data.test], metrics: [accuracy, nll]}
"""


def test_rows_chosen_anew_and_state_survive_a_crash(session, tmp_path, monkeypatch) -> None:
    path = write_recipe(tmp_path, CHOSEN)
    calm = session(path, "data.limit=256")
    calm.plan()
    metrics = calm.run().metrics
    log = calm.store.read(calm.keys["fit"])["log"].rows
    assert [row["epoch"] for row in log] == [1, 2, 3]
    assert [row["rows"] for row in log] == [154, 154, 102], "chosen every second epoch, by the schedule"
    assert log[-1]["step"] == sum(-(-row["rows"] // 64) for row in log)
    saves, save = 0, Checkpoints.save

    def stop_at_five(self, step, tensors, meta) -> None:
        nonlocal saves
        saves += 1
        save(self, step, tensors, meta)
        if saves == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoints, "save", stop_at_five)
    broken = session(path, "data.limit=256", f"store={tmp_path / 'other'}", "checkpoint_seconds=0")
    with pytest.raises(KeyboardInterrupt):
        broken.run()
    monkeypatch.setattr(Checkpoints, "save", save)
    again = session(path, "data.limit=256", f"store={tmp_path / 'other'}")
    assert again.run().metrics == metrics
    assert again.store.read(again.keys["fit"])["log"].rows == log


def test_state_starts_from_parameters_alone(session, tmp_path) -> None:
    body = CHOSEN.replace("{op: constant, shape: [1], value: 0.5}", "{op: scale, from: [bank], by: 2.0}")
    with pytest.raises(InputError, match="it takes no 'from'"):
        session(write_recipe(tmp_path, body)).plan()


CACHED = """
epochs: 1
graph:
  fit_teacher: {stage: train, from: {model: teacher, data: data.train, optimizer: optimizer}, step: supervised, epochs: 1}
  answers: {stage: predict, from: [fit_teacher, data.train]}
  live:
    stage: train
    seed: 5
    from: {student: start, teacher: fit_teacher, answers: answers, data: data.train, optimizer: optimizer}
    step:
      nodes:
        s: {call: student, from: [batch.image]}
        t: {call: teacher, from: [batch.image], grad: false}
        kept: {op: gather, from: [answers, batch.index]}
        kd: {op: kl_divergence, from: [s.logits, t.logits], temperature: 4.0}
      updates: {main: {minimize: {kd: 1.0}, train: [student], optimizer: optimizer}}
    epochs: 2
  start: {stage: initialize, by: random_weights, from: [student, data.train]}
  test: {stage: evaluate, from: [live, data.test], metrics: [accuracy]}
"""


def test_cached_teacher_answers_give_the_same_student(session, tmp_path) -> None:
    """Two epochs without augmentation, the teacher run or its stored answers read: weights agree to 1e-5."""
    weights = []
    for source in ("[s.logits, t.logits]", "[s.logits, kept]"):
        ready = session(write_recipe(tmp_path, CACHED.replace("[s.logits, t.logits]", source)), "data.limit=256")
        ready.run()
        weights.append(ready.executor.value(Ref("live")).state)
    for name, value in weights[0].items():
        assert torch.allclose(value.float(), weights[1][name].float(), atol=1e-5), name


def test_a_first_stage_leaves_what_lies_behind_its_end_alone(session) -> None:
    ready = session("kd", "transfer=hint", "epochs=1", "data.limit=128", "transfer.hint_epochs=1")
    ready.executor.result("fit_hint")
    found = ready.executor.value(Ref("fit_hint")).state
    from kdrun.models.building import build as build_model

    spec = ready.executor.value(Ref("fit_hint")).spec
    first = build_model(spec, seed=(0, "fit_hint", "weights", "student")).state_dict()
    assert torch.equal(found["head.weight"], first["head.weight"])
    assert torch.equal(found["blocks.2.1.weight"], first["blocks.2.1.weight"])
    assert not torch.equal(found["blocks.1.1.weight"], first["blocks.1.1.weight"])


TURNS = """
epochs: 1
data: {limit: 320}
graph:
  fit_student:
    stage: train
    from: {student: student, data: data.train}
    models: {critic: {model: mlp, hidden: [4], num_classes: 10, in_features: 10}}
    step:
      nodes:
        s: {call: student, from: [batch.image]}
        held: {call: critic, from: [s.logits], detach: true}
        ce: {op: cross_entropy, from: [s.logits, batch.label]}
        tell: {op: cross_entropy, from: [held.logits, batch.label]}
      updates:
        main: {minimize: {ce: 1.0}, train: [student], optimizer: {optimizer: adam, lr: 0.01}}
        critic: {minimize: {tell: 1.0}, train: [critic], optimizer: {optimizer: adam, lr: 0.01}}
      alternate: [{updates: [main], at_most: 2}, {updates: [critic], until: {above: [tell, 0.0]}}]
    epochs: 2
"""


def test_updates_take_turns_and_go_on_with_them_after_an_interruption(
    session, tmp_path, monkeypatch, interrupted
) -> None:
    recipe = write_recipe(tmp_path, TURNS)
    ran: list[str] = []
    update = StepProgram._update
    monkeypatch.setattr(
        StepProgram,
        "_update",
        lambda self, segment, *rest: ran.append(segment.update.name) or update(self, segment, *rest),
    )
    calm = session(recipe)
    calm.run()
    assert ran == ["main", "main", "critic"] * 3 + ["main"]
    with interrupted(5):
        session(recipe, f"store={tmp_path / 'other'}", "checkpoint_seconds=0").run()
    again = session(recipe, f"store={tmp_path / 'other'}")
    again.run()
    for role in ("student", "critic"):
        found, expected = (s.executor.value(Ref("fit_student", (role,))).state for s in (again, calm))
        assert all(torch.equal(found[name], value) for name, value in expected.items())


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
    ready = session(write_recipe(tmp_path, INVERTED), "data.limit=256")
    ready.plan()
    metrics = ready.run().metrics
    assert metrics["cost.queries.sum"] == 96
    log = ready.executor.result("inverted")["log"].rows
    assert log[-1]["margin"] < 0 < log[0]["margin"]
    with pytest.raises(InputError, match="has no field 'logits'"):
        session(write_recipe(tmp_path, INVERTED.replace("said.label", "said.logits")), "data.limit=256").plan()


FROZEN = """
graph:
  first: {stage: train, from: {model: student, data: data.train, optimizer: optimizer}, step: supervised, epochs: 1}
  fit:
    stage: train
    from: {student: student, teacher: first, data: data.train, optimizer: optimizer}
    step:
      nodes:
        s: {call: student, from: [batch.image]}
        t: {call: teacher, from: [batch.image]}
        kd: {op: kl_divergence, from: [s.logits, t.logits]}
      minimize: {kd: 1.0}
      train: [student]
      optimizer: optimizer
    epochs: 1
  test: {stage: evaluate, from: [fit.teacher, data.test], metrics: [accuracy]}
"""


def test_a_model_that_a_stage_does_not_train_is_none_of_its_fields(session, tmp_path) -> None:
    with pytest.raises(InputError, match="'fit' has no field 'teacher'; it has: student"):
        session(write_recipe(tmp_path, FROZEN))


SAMPLED = """
data: {per_domain: 20, source_domains: 3}
graph:
  fit: {stage: train, from: {model: student, data: data.train, optimizer: optimizer}, step: supervised, epochs: 2, batch_size: 8, sampler: {sampler: one_group_a_batch}}
  test: {stage: evaluate, from: [fit, data.test.0], metrics: [accuracy]}
"""


def test_a_sampler_decides_the_batches(session, tmp_path) -> None:
    header = "defaults: [{override /protocol: null}, {override /transfer: null}, {override /data: domain_glyphs}]\n"
    path = write_recipe(tmp_path, SAMPLED, "# @package _global_\n" + header)
    ready = session(path)
    ready.plan()
    ready.run()
    assert [row["step"] for row in ready.executor.result("fit")["log"].rows] == [6, 12]
    with pytest.raises(InputError, match="sampler"):
        session(path, "+graph.fit.shuffle=false").run()


LINEAR = ALONE.replace("[", "[{override /student: linear}, ")

REFRESHED = """
graph:
  part: {stage: select, by: of_classes, from: [data.train], classes: [3, 4]}
  fit:
    stage: train
    from: {model: student, data: part}
    step:
      state:
        features: {op: zero_rows, rows: auto, columns: 64}
        scores: {op: zero_rows, rows: auto, columns: 10}
      nodes:
        m: {call: model, from: [batch.image], taps: {feature: feature}}
        own: {op: gather, from: [scores, batch.index]}
        ce: {op: cross_entropy, from: [m.probabilities, own], given: probabilities}
      updates: {main: {minimize: {ce: 1.0}, train: [model], optimizer: {optimizer: sgd, lr: 1.0e-9}}}
    refresh: {op: filled_banks, from: [m.feature, m.probabilities], every: 1}
    epochs: 2
"""


def test_a_refresh_writes_the_state_at_each_rows_index(session, tmp_path) -> None:
    """Each row's target is its own first prediction, so that the loss is the mean entropy of predictions."""
    path = write_recipe(tmp_path, REFRESHED, LINEAR)
    ready = session(path)
    ready.plan()
    ready.run()
    log = ready.store.read(ready.keys["fit"])["log"].rows
    state = ready.executor.value(Ref("fit")).state
    rows = ready.executor.value(Ref("part")).rows()
    assert int(rows["index"].max()) >= len(rows["index"])
    p = (rows["image"].flatten(1) @ state["head.weight"].T + state["head.bias"]).softmax(1)
    entropies = -(p * p.log()).sum(1)
    assert log[0]["ce"] == pytest.approx(entropies.mean().item(), rel=0.02)  # a mean over batches, the last one short
    renamed = REFRESHED.replace("scores:", "answers:").replace("[scores,", "[answers,").replace("features:", "x:", 1)
    with pytest.raises(InputError, match="no state of the step has such a name"):
        session(write_recipe(tmp_path, renamed, LINEAR)).run()
    narrow = REFRESHED.replace("columns: 64", "columns: 63")
    with pytest.raises(InputError, match=r"for the state 'features' \[\d+, 63\]"):
        session(write_recipe(tmp_path, narrow, LINEAR)).run()


def test_a_refresh_over_another_loader_writes_state_and_chooses_no_rows(session, tmp_path) -> None:
    """Rows of the other loader may have numbers beyond those of the data; all of the data is trained on."""
    body = REFRESHED.replace("data: part}", "data: part, other: others}").replace(
        "  fit:", "  others: {stage: select, by: of_classes, from: [data.train], classes: [5, 6]}\n  fit:"
    )
    body = body.replace("m: {call", "o: {call: model, from: [other.image], taps: {feature: feature}}\n        m: {call")
    body = body.replace("from: [scores, batch.index]", "from: [scores, other.index]").replace("[m.prob", "[o.prob")
    body = body.replace("from: [m.feature, m.prob", "from: [o.feature, o.prob").replace("every: 1", "over: other")
    ready = session(write_recipe(tmp_path, body, LINEAR), "+graph.fit.batch_size=512")
    ready.plan()
    ready.run()
    log = ready.store.read(ready.keys["fit"])["log"].rows
    state = ready.executor.value(Ref("fit")).state
    rows = ready.executor.value(Ref("others")).rows()
    p = (rows["image"].flatten(1) @ state["head.weight"].T + state["head.bias"]).softmax(1)
    assert log[0]["ce"] == pytest.approx(-(p * p.log()).sum(1).mean().item(), rel=1e-4)
    assert log[0]["rows"] == len(ready.executor.value(Ref("part")))
    with pytest.raises(InputError, match="no data 'othr' to refresh over"):
        session(write_recipe(tmp_path, body.replace("over: other", "over: othr"), LINEAR))


TIMED = """
graph:
  fit:
    stage: train
    from: {model: student, data: data.train}
    step:
      nodes:
        m: {call: model, from: [batch.image]}
        zero: {op: scale, from: [m.logits], by: 0.0}
        rise: {op: affine, from: [zero], shift: {schedule: linear, start: 0.0, end: 4.0}}
        x: {op: mean, from: [rise]}
      updates: {main: {minimize: {x: 1.0}, train: [model], optimizer: {optimizer: sgd, lr: 0.1}}}
    epochs: 2
"""


def test_a_parameter_of_an_op_may_be_a_schedule(session, tmp_path) -> None:
    ready = session(write_recipe(tmp_path, TIMED, LINEAR))
    ready.plan()
    ready.run()
    log = ready.store.read(ready.keys["fit"])["log"].rows
    steps, half = log[1]["step"], log[0]["step"]
    for row, first in zip(log, (0, half), strict=True):
        expected = sum(4 * step / steps for step in range(first, first + half)) / half
        assert row["x"] == pytest.approx(expected)
    other = session(write_recipe(tmp_path, TIMED.replace("end: 4.0", "end: 5.0"), LINEAR))
    assert other.keys["fit"] != ready.keys["fit"]
    for old, new, message in (
        ("schedule: linear", "schedule: liner", "did you mean 'linear'"),
        ("shift:", "shiftt:", "op 'affine' has no parameter 'shiftt'"),
        ("end: 4.0", "ende: 4.0", "no parameter 'ende'"),
    ):
        with pytest.raises(InputError, match=message):
            session(write_recipe(tmp_path, TIMED.replace(old, new), LINEAR))


def test_weights_that_the_very_last_step_spoils_are_no_result(session) -> None:
    """The loss of that step was finite; nothing is stored."""
    ready = session(
        "kd",
        "transfer=none",
        "fit_student.epochs=null",
        "+fit_student.steps=1",
        "optimizer.lr=1e39",
        "optimizer.schedule=null",
    )
    with pytest.raises(Diverged, match="the last step left weights that are NaN or infinite"):
        ready.executor.result("fit_student")
    assert not ready.store.contains(ready.keys["fit_student"])


def test_statistics_of_a_frozen_part_stay_as_they_are(session, tmp_path) -> None:
    """Only the head trains: features of the student are the same afterwards."""
    body = """
student: {model: cnn, channels: [4, 6]}
graph:
  start: {stage: train, from: {model: student, data: data.train, optimizer: optimizer}, step: supervised, steps: 3}
  fit:
    stage: train
    from: {model: start, data: data.train, optimizer: optimizer}
    step: {like: supervised, train: {model: false, model.head: true}}
    steps: 3
results: [fit]
"""
    ready = session(write_recipe(tmp_path, body))
    before, after = (ready.executor.value(Ref(name)).state for name in ("start", "fit"))
    moved = [name for name in before if not torch.equal(before[name], after[name])]
    assert moved == ["head.weight", "head.bias"]
