"""Words of the step grammar beyond plain updates: partial forwards, state, chosen rows, measures."""

from __future__ import annotations

import math

import pytest
import torch

from kdrun.errors import InputError
from kdrun.grammar.nodes import Ref
from kdrun.grammar.turns import Alternation, Phase, parse_phases
from kdrun.models.building import build
from kdrun.ops.normalization import standardize
from kdrun.ops.random_draws import random_partners, random_rows, unit_rows
from kdrun.ops.views import rotation_views
from kdrun.optim.schedules import Progress, gaussian_fade
from kdrun.runtime.checkpoints import Checkpoints
from kdrun.step.program import StepProgram
from kdrun.step.taps import Detour, tap, tokens_as_map

SPEC = {"model": "cnn", "channels": [4, 8], "kernel_size": 3, "num_classes": 3, "in_channels": 1, "image_size": 8}


def test_a_call_may_end_at_an_inner_module_and_start_behind_one() -> None:
    module = build(SPEC, seed=(0,)).eval()
    image = torch.randn(5, 1, 8, 8)
    slot = tap(module, "map_1")
    expected = module(image)
    inner = slot.take()
    assert torch.equal(Detour(module, [], "map_1", key="k").run(module, [image], {}), inner)
    patched = Detour(module, ["map_1"], None, key="k")
    assert torch.equal(patched.run(module, [torch.zeros_like(image), inner], {}), expected)
    assert torch.equal(module(image), expected), "outside a partial forward the module is itself"
    hidden = inner.detach().clone().requires_grad_()
    patched.run(module, [image, hidden], {}).sum().backward()
    assert hidden.grad is not None
    assert hidden.grad.abs().sum() > 0


def test_patching_an_input_and_ending_at_one() -> None:
    module = build(SPEC, seed=(0,)).eval()
    image, feature = torch.randn(2, 1, 8, 8), torch.randn(2, 8)
    assert torch.equal(
        Detour(module, ["feature"], None, key="k").run(module, [image, feature], {}), module.head(feature)
    )
    assert Detour(module, [], "feature", key="k").run(module, [image], {}).shape == (2, 8)
    with pytest.raises(InputError, match="has no module 'map_9'"):
        Detour(module, ["map_9"], None, key="k")


def test_tokens_as_map_leaves_class_tokens_out() -> None:
    tokens = torch.arange(2 * 5 * 3, dtype=torch.float32).view(2, 5, 3)
    maps = tokens_as_map(tokens)
    assert maps.shape == (2, 3, 2, 2)
    assert torch.equal(maps[1, :, 0, 1], tokens[1, 2])
    with pytest.raises(InputError, match="reads tokens"):
        tokens_as_map(torch.zeros(2, 3, 4, 4))


HEADER = "# @package _global_\ndefaults: [{override /protocol: null}, {override /transfer: null}]\nepochs: 1\n"

MEASURED = """
graph:
  fit: {stage: train, from: {model: student, data: data.train, optimizer: optimizer}, step: supervised, epochs: 1}
  test: {stage: evaluate, from: [fit, data.test], metrics: [accuracy, nll]}
  again:
    stage: measure
    from: {model: fit, data: data.test}
    step:
      nodes:
        s: {call: model, from: [batch.image], taps: {low: map_1}}
        p: {call: model, from: [batch.image, s.low], patch: [map_1]}
        loss: {op: cross_entropy, from: [s.logits, batch.label]}
        right: {op: is_correct, from: [s.logits, batch.label]}
    batch_size: 100
    metrics:
      - {metric: accuracy, from: [p.logits, batch.label]}
      - {metric: mean_value, from: [loss], name: loss}
      - {metric: group_means, from: [batch.label, right], name: label}
"""


def recipe(tmp_path, body: str) -> str:
    path = tmp_path / "own.yaml"
    path.write_text(HEADER + body)
    return str(path)


def test_measure_agrees_with_evaluate(session, tmp_path) -> None:
    ready = session(recipe(tmp_path, MEASURED), "data.limit=256")
    ready.plan()
    metrics = ready.run().metrics
    assert metrics["again.accuracy"] == metrics["test.accuracy"]
    assert math.isclose(metrics["again.loss"], metrics["test.nll"], rel_tol=1e-5)
    rows = ready.executor.value(Ref("data", ("test",))).rows()["label"].double()
    share = metrics["test.accuracy"]
    overall = share * metrics["again.label.1"] + (1 - share) * metrics["again.label.0"]
    assert math.isclose(overall, rows.mean().item(), rel_tol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("from: [p.logits, batch.label]", "from: [q.logits, batch.label]"), "no node or input 'q'"),
        (("from: [p.logits, batch.label]", "name: x"), "say what this metric reads"),
        (("{metric: mean_value, from: [loss]", "{metric: mean_value, from: [loss, right]"), "takes 1 input"),
        (("patch: [map_1]", "patch: [map_1, map_2]"), "patch lists the modules"),
        (("op: is_correct", "op: is_corect"), "is_correct"),
    ],
)
def test_wrong_measures_are_found_before_anything_runs(session, tmp_path, change, message) -> None:
    with pytest.raises(InputError, match=message):
        session(recipe(tmp_path, MEASURED.replace(*change))).plan()


CHOSEN = """
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
    path = recipe(tmp_path, CHOSEN)
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
        session(recipe(tmp_path, body)).plan()


def test_a_null_takes_inherited_nodes_away(session, tmp_path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(
        "# @package _global_\ndefaults: [{override /transfer: distillation/kd}]\n"
        "graph: {valid: null, teacher_test: null, fit_student: {step: {nodes: {kd: null, t: null}, minimize: {kd: null}}}}\n"
    )
    graph = session(str(path)).graph
    assert "valid" not in graph.nodes
    assert set(graph.nodes["fit_student"].params["step"]["nodes"]) == {"s", "ce"}


def test_random_partners_are_others() -> None:
    generator = torch.Generator().manual_seed(0)
    index = torch.arange(6)
    found = random_partners(index, torch.zeros(6, 2), count=500, generator=generator)
    assert torch.equal(found[:, 0], index)
    assert (found[:, 1:] != index[:, None]).all()
    assert all(set(row.tolist()) == set(range(6)) - {i} for i, row in enumerate(found[:, 1:]))


def test_random_rows_and_unit_rows() -> None:
    generator = torch.Generator().manual_seed(0)
    chosen = random_rows(torch.zeros(10, 3), share=0.3, generator=generator)
    assert len(chosen.unique()) == 3
    assert torch.allclose(unit_rows(rows=4, features=5, generator=generator).norm(dim=1), torch.ones(4))


def test_rotation_views_come_four_a_row() -> None:
    image = torch.randn(2, 1, 3, 3)
    views = rotation_views(image)
    assert torch.equal(views[4], image[1])
    assert torch.equal(views[6].flip(1, 2), image[1])
    assert torch.equal(views[5].rot90(-1, (1, 2)), image[1])


def test_standardize_is_batch_norm_without_parameters() -> None:
    value = torch.randn(7, 3, dtype=torch.float64) * 4 + 2
    norm = torch.nn.BatchNorm1d(3, affine=False).double()
    assert torch.allclose(standardize(value), norm(value))


def test_gaussian_fade() -> None:
    def at(epoch: int) -> float:
        return gaussian_fade(Progress(epoch * 10, 2400, epoch, 240, 10), until=120, scale=160)

    assert math.isclose(at(0), 1 - math.exp(-5 * (2 / 160 - 1) ** 2))
    assert at(0) > 0.99
    assert math.isclose(at(118), 1 - math.exp(-5 * (120 / 160 - 1) ** 2))
    assert at(119) == 0.0


CACHED = """
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
        ready = session(recipe(tmp_path, CACHED.replace("[s.logits, t.logits]", source)), "data.limit=256")
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


def test_each_writes_several_nodes(session, tmp_path) -> None:
    body = """
graph:
  fit:
    stage: train
    from: {student: student, data: data.train, optimizer: optimizer}
    models: {map: {each: [1, 2], model: conv_adapter, out_channels: 3}}
    step:
      nodes:
        s: {call: student, from: [batch.image], taps: {f1: map_1, f2: map_2}}
        u: {each: [1, 2], call: "map_{}", from: ["s.f{}"]}
        sizes: {each: [[1, 2], [2, 1]], op: attention_transfer, from: ["u_{0}", "u_{1}"]}
        all: {op: add, from: [sizes]}
      updates: {main: {minimize: {all: 1.0}, train: [student, map], optimizer: optimizer}}
    epochs: 1
  test: {stage: evaluate, from: [fit, data.test], metrics: [accuracy]}
"""
    ready = session(
        recipe(tmp_path, body.replace("train: [student, map]", "train: [student.blocks.0, student.blocks.1, map]"))
    )
    step = ready.graph.nodes["fit"].params["step"]
    assert step["nodes"]["all"]["from"] == ["sizes_1_2", "sizes_2_1"]
    assert step["nodes"]["sizes_2_1"]["from"] == ["u_2", "u_1"]
    assert step["updates"]["main"]["train"][2:] == ["map_1", "map_2"]
    ready.plan()
    with pytest.raises(InputError, match="each takes a list"):
        session(recipe(tmp_path, body.replace("each: [1, 2], call", "each: 2, call")))


TURNS = (
    HEADER
    + """
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
)


def test_updates_take_turns_and_go_on_with_them_after_an_interruption(
    session, tmp_path, monkeypatch, interrupted
) -> None:
    recipe = tmp_path / "turns.yaml"
    recipe.write_text(TURNS)
    ran: list[str] = []
    update = StepProgram._update
    monkeypatch.setattr(
        StepProgram,
        "_update",
        lambda self, segment, *rest: ran.append(segment.update.name) or update(self, segment, *rest),
    )
    calm = session(str(recipe))
    calm.run()
    assert ran == ["main", "main", "critic"] * 3 + ["main"]
    with interrupted(5):
        session(str(recipe), f"store={tmp_path / 'other'}", "checkpoint_seconds=0").run()
    again = session(str(recipe), f"store={tmp_path / 'other'}")
    again.run()
    for role in ("student", "critic"):
        found, expected = (s.executor.value(Ref("fit_student", (role,))).state for s in (again, calm))
        assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_a_phase_ends_at_its_threshold_or_its_last_step() -> None:
    turns = Alternation([Phase(("a",), 3, "x", True, 1.0), Phase(("b",), None, "y", False, 0.5)])
    seen = []
    for terms in ({"x": 0.5}, {"x": 1.5}, {"y": 0.9}, {"y": 0.4}, {"x": 0.0}, {"x": 0.0}, {"x": 0.0}):
        seen.append("".join(name for name in "abc" if turns.allows(name)))
        turns.advance(terms)
    assert seen == ["ac", "ac", "bc", "bc", "ac", "ac", "ac"]
    assert turns.allows("b")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([{"updates": ["a"], "at_most": 1}], "two phases or more"),
        ([{"updates": ["a"]}, {"updates": ["b"], "at_most": 1}], "never ends"),
        ([{"updates": ["c"], "at_most": 1}, {"updates": ["b"], "at_most": 1}], "there is no update 'c'"),
        ([{"updates": ["a"], "until": {"above": ["y", 1]}}, {"updates": ["b"], "at_most": 1}], "does not compute it"),
        ([{"updates": ["a"], "until": {"over": ["x", 1]}}, {"updates": ["b"], "at_most": 1}], "until reads"),
        ([{"updates": ["a"], "at_most": 0}, {"updates": ["b"], "at_most": 1}], "a number of steps"),
        ([{"updates": ["a"], "at_mots": 1}, {"updates": ["b"], "at_most": 1}], "did you mean 'at_most'"),
    ],
)
def test_malformed_turns(content, message) -> None:
    with pytest.raises(InputError, match=message):
        parse_phases(content, {"a": {"x": 1.0}, "b": {"y": 1.0}}, key="k")
