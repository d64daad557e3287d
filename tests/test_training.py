"""The step compiler against loops written by hand in plain PyTorch."""

from __future__ import annotations

import math
from typing import cast

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from kdrun.data.digits import Digits
from kdrun.errors import Diverged, InputError
from kdrun.grammar.nodes import Ref
from kdrun.grammar.steps import Update
from kdrun.models.building import build, load_state
from kdrun.randomness import stream
from kdrun.runtime.artifacts import Model
from kdrun.step.program import Trainable


def network(channels: list[int], name: str, role: str) -> nn.Module:
    spec = {
        "model": "cnn",
        "channels": channels,
        "kernel_size": 3,
        "num_classes": 10,
        "in_channels": 1,
        "image_size": 8,
    }
    return build(spec, seed=(0, name, "weights", role))


def trained(session, stage: str = "fit_student", field: tuple[str, ...] = ()) -> dict[str, torch.Tensor]:
    session.run()
    model = session.executor.value(Ref(stage, field))
    assert isinstance(model, Model)
    return dict(model.state)


def test_distillation_equals_a_hand_written_loop_to_the_last_bit(session) -> None:
    ready = session("kd", "epochs=2", "teacher_epochs=1", "batch_size=64")
    ours = trained(ready)
    teacher = network([32, 64, 128], "fit_teacher", "model").to(memory_format=torch.channels_last).eval()
    load_state(teacher, ready.executor.value(Ref("fit_teacher")).state, source="test")
    student = network([8, 16, 32], "fit_student", "student").to(memory_format=torch.channels_last).train()
    rows = Digits().load()["train"].rows()
    image, label = rows["image"], rows["label"]
    optimizer = torch.optim.SGD(
        student.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=True
    )
    per_epoch = math.ceil(len(label) / 64)
    for epoch in range(2):
        order = torch.randperm(len(label), generator=stream(0, "fit_student", "order", "data", epoch))
        for i, chosen in enumerate(order.split(64)):
            step = epoch * per_epoch + i
            optimizer.param_groups[0]["lr"] = 0.05 * 0.5 * (1 + math.cos(math.pi * step / (2 * per_epoch)))
            logits = student(image[chosen])
            with torch.no_grad():
                target = teacher(image[chosen])
            log_student, log_teacher = F.log_softmax(logits / 4.0, 1), F.log_softmax(target / 4.0, 1)
            kd = 16.0 * (log_teacher.exp() * (log_teacher - log_student)).sum(1).mean()
            loss = 0.1 * F.cross_entropy(logits, label[chosen]) + 0.9 * kd
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for name, value in student.state_dict().items():
        assert torch.equal(value, ours[name]), name


def write_recipe(folder, body: str) -> str:
    path = folder / "own.yaml"
    path.write_text(
        "# @package _global_\ndefaults: [{override /student: mlp_tiny}, {override /protocol: null}, {override /transfer: null}]\n"
        + body
    )
    return str(path)


def test_updates_in_one_step_see_each_other_as_in_a_gan_loop(session, tmp_path) -> None:
    """The second update must see what the first one changed; the first must not touch the second's model."""
    recipe = write_recipe(
        tmp_path,
        """
graph:
  fit_student:
    stage: train
    from: {student: student, data: data.train}
    models: {critic: {model: mlp, hidden: [8], num_classes: 10, in_features: 10}}
    step:
      nodes:
        s: {call: student, from: [batch.image]}
        judged: {call: critic, from: [s.logits]}
        held: {call: critic, from: [s.logits], detach: true}
        fool: {op: cross_entropy, from: [judged.logits, batch.label]}
        tell: {op: cross_entropy, from: [held.logits, batch.label]}
      updates:
        main: {minimize: {fool: 1.0}, train: [student], optimizer: {optimizer: sgd, lr: 0.1}}
        critic: {minimize: {tell: -1.0}, train: [critic], every: 2, optimizer: {optimizer: sgd, lr: 0.2}}
    epochs: 1
""",
    )
    ready = session(recipe, "data.limit=192")
    ours = trained(ready, field=("critic",))
    info = {"num_classes": 10, "in_features": 64}
    student = build({"model": "mlp", "hidden": [64], **info}, seed=(0, "fit_student", "weights", "student"))
    critic = build(
        {"model": "mlp", "hidden": [8], "num_classes": 10, "in_features": 10},
        seed=(0, "fit_student", "weights", "critic"),
    )
    rows = Digits(limit=192).load()["train"].rows()
    first = torch.optim.SGD(student.parameters(), lr=0.1)
    second = torch.optim.SGD(critic.parameters(), lr=0.2)
    order = torch.randperm(192, generator=stream(0, "fit_student", "order", "data", 0))
    for step, chosen in enumerate(order.split(64)):
        image, label = rows["image"][chosen], rows["label"][chosen]
        first.zero_grad()
        F.cross_entropy(critic(student(image)), label).backward(inputs=list(student.parameters()))
        first.step()
        if step % 2 == 0:
            second.zero_grad()
            (-F.cross_entropy(critic(student(image).detach()), label)).backward()
            second.step()
    for name, value in critic.state_dict().items():
        assert torch.equal(value, ours[name]), name


BILEVEL = """
graph:
  fit_student:
    stage: train
    from: {student: student, data: data.train, valid: data.valid}
    models: {ratio: {model: mlp, hidden: [4], final: sigmoid, squeeze: true, num_classes: 1, in_features: 64}}
    step:
      nodes:
        s: {call: student, from: [batch.image]}
        ce: {op: cross_entropy, from: [s.logits, batch.label]}
        alpha: {call: ratio, from: [batch.image]}
        each: {op: cross_entropy, from: [s.logits, batch.label], reduction: none}
        flat: {op: cross_entropy, from: [s.logits, batch.label], reduction: none, label_smoothing: 0.9}
        mixed: {op: mix_losses, from: [each, flat, alpha]}
      updates:
        ratio:
          minimize: {ce: 1.0}
          train: [ratio]
          through: {update: main, steps: 1}
          batch: valid
          optimizer: {optimizer: sgd, lr: 1.0}
        main: {minimize: {mixed: 1.0}, train: [student], optimizer: {optimizer: sgd, lr: 0.5}}
    steps: 1
"""


def test_through_differentiates_a_virtual_step(session, tmp_path) -> None:
    """The outer update's step, by finite differences of the validation loss after a real inner step."""
    ready = session(write_recipe(tmp_path, BILEVEL))
    ours = trained(ready, field=("ratio",))
    student = build(
        {"model": "mlp", "hidden": [64], "num_classes": 10, "in_features": 64},
        seed=(0, "fit_student", "weights", "student"),
    ).double()
    spec = {"model": "mlp", "hidden": [4], "final": "sigmoid", "squeeze": True, "num_classes": 1, "in_features": 64}
    ratio = build(spec, seed=(0, "fit_student", "weights", "ratio")).double()
    splits = Digits().load()

    def batch(split: str, loader: str) -> tuple[torch.Tensor, torch.Tensor]:
        rows = splits[split].rows()
        order = torch.randperm(len(rows["label"]), generator=stream(0, "fit_student", "order", loader, 0))[:64]
        return rows["image"][order].double(), rows["label"][order]

    image, label = batch("train", "data")
    valid_image, valid_label = batch("valid", "valid")

    def outer(bias: float) -> float:
        alpha = torch.sigmoid(ratio.head(ratio.body(image.flatten(1))) + bias).squeeze(1)
        each = F.cross_entropy(student(image), label, reduction="none")
        flat = F.cross_entropy(student(image), label, reduction="none", label_smoothing=0.9)
        gradients = torch.autograd.grad(
            (alpha.detach() * each + (1 - alpha.detach()) * flat).mean(), list(student.parameters())
        )
        moved = {n: p - 0.5 * g for (n, p), g in zip(student.named_parameters(), gradients, strict=True)}
        return F.cross_entropy(torch.func.functional_call(student, moved, (valid_image,)), valid_label).item()

    slope = (outer(1e-4) - outer(-1e-4)) / 2e-4
    change = (ours["head.bias"].double() - ratio.head.bias.detach()).item()
    assert slope != 0
    assert change == pytest.approx(-slope, rel=1e-3)


def test_average_moves_a_share_towards_the_parameters(session) -> None:
    """After one step: ``average = decay * start + (1 - decay) * end``."""
    one_step = [
        "epochs=null",
        "+graph.fit_student.steps=1",
        "+graph.fit_student.step.average={student: 0.75}",
    ]
    ready = session("kd", "transfer=none", *one_step)
    averaged, final = trained(ready, field=("average", "student")), trained(ready)
    start = dict(network([8, 16, 32], "fit_student", "student").named_parameters())
    for name, value in start.items():
        torch.testing.assert_close(averaged[name], 0.75 * value.detach() + 0.25 * final[name])
    assert torch.equal(averaged["blocks.0.2.running_mean"], final["blocks.0.2.running_mean"])


def test_a_term_of_weight_zero_is_not_computed(session) -> None:
    with_zero = trained(session("kd", "epochs=1", "transfer.weight=0", "transfer.label_weight=1"))
    without = trained(session("kd", "epochs=1", "transfer=none"))
    assert all(torch.equal(with_zero[n], without[n]) for n in without)


def test_gradient_transform_is_applied(session) -> None:
    clipped = "+graph.fit_student.step.gradient={gradient: clip_norm, max_norm: 1e-9}"
    still = trained(session("kd", "transfer=none", "epochs=1", "optimizer.weight_decay=0", clipped))
    start = network([8, 16, 32], "fit_student", "student").state_dict()
    torch.testing.assert_close(still["head.weight"], start["head.weight"], atol=1e-6, rtol=0)


def test_a_scheduled_weight_starts_at_zero(session) -> None:
    ready = session(
        "kd", "transfer=norm_direction", "epochs=2", "transfer.warmup_epochs=2", "transfer.direction_weight=0.5"
    )
    ready.run()
    log = ready.store.read(ready.keys["fit_student"])["log"].rows
    assert set(log[0]) == {"epoch", "step", "ce", "kd", "direction"}
    assert 0 < log[1]["direction"] < 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "graph.fit_student.step.nodes.kd.from=[s.logits, batch.label]",
            "does not fit its inputs s.logits \\[64, 10\\], batch.label \\[64\\]",
        ),
        (
            "graph.fit_student.step.nodes.ce.from=[s.logits, batch.lable]",
            "no column 'lable' \\(did you mean 'label'\\?\\)",
        ),
        ("+graph.fit_student.step.nodes.s.taps={feature: head.inputt}", "no module 'head.inputt'"),
        ("+graph.fit_student.step.nodes.kd.reduction=none", "'kd' is no scalar"),
        ("+graph.fit_student.step.train.teacher=true", "no gradient reaches teacher"),
        (
            "graph.fit_student.step.nodes.kd.from=[s.logit, t.logits]",
            "has no field 'logit' \\(did you mean 'logits'\\?\\)",
        ),
    ],
)
def test_planning_finds_what_cannot_work(session, override, message) -> None:
    with pytest.raises(InputError, match=message):
        session("kd", override).plan()


def test_nan_stops_with_step_update_and_term(session, tmp_path) -> None:
    ready = session("kd", "transfer=none", "optimizer.lr=1e30", "epochs=2")
    with pytest.raises(Diverged, match="at step [0-9]+: update 'main', term 'ce'"):
        ready.run()
    assert not ready.store.contains(ready.keys["fit_student"])


def test_sizes_left_open_are_found_from_what_is_compared(session) -> None:
    ready = session("kd", "transfer=hint_joint")
    found = {s.name: s for s in ready.plan().stages}
    assert found["fit_student"].parameters["adapter"] == 32 * 128 + 2 * 128
    assert found["fit_student"].shapes["adapted"] == [64, 128, 2, 2]


def test_virtual_steps_leave_running_statistics_alone(session) -> None:
    weights = {}
    for every in (0, 1):
        ready = session(
            "distillation/tgeo_kd",
            *SMALL_TGEO,
            f"fit_student.step.updates.ratio.every={every}",
            "graph.fit_student.step.updates.ratio.optimizer.lr=1e-30",
        )
        weights[every] = trained(ready)
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name


SMALL_TGEO = (
    "epochs=1",
    "teacher_epochs=1",
    "data.per_class=3",
    "data.valid_per_class=2",
    "data.test_per_class=1",
    "data.teacher_per_class=2",
)


def test_a_transformed_gradient_has_the_layout_of_its_parameter() -> None:
    """Fused optimizers walk parameter and gradient through memory; a transform may hand back other strides."""
    moved = []
    for layout in (torch.contiguous_format, torch.channels_last):
        torch.manual_seed(0)
        layer = nn.Conv2d(3, 4, 3).to(memory_format=layout)
        layer(torch.rand(2, 3, 8, 8)).square().sum().backward()
        optimizer = torch.optim.Adam(layer.parameters(), lr=0.1, fused=True)
        named = dict(layer.named_parameters())
        halve = [lambda gradients, _: {n: (g / 2).contiguous() for n, g in gradients.items()}]
        trainable = Trainable(cast("Update", None), optimizer, named, [0.1], transforms=halve)
        trainable.transform()
        optimizer.step()
        moved.append(layer.weight.detach().contiguous())
    torch.testing.assert_close(*moved)


def test_memory_layout_changes_no_result(session) -> None:
    """Channels-last is a matter of speed; what remains is the order of sums."""
    states = [
        trained(session("kd", "epochs=1", "data.limit=320", f"hardware.channels_last={on}")) for on in (True, False)
    ]
    for name, value in states[0].items():
        torch.testing.assert_close(value, states[1][name], rtol=1e-3, atol=1e-4, msg=name)


def test_a_batch_in_parts_gives_the_gradient_of_the_whole(session) -> None:
    """Batches of 60 and a last one of 20 rows, in seven parts of unequal size, without batch statistics."""
    plain = ("transfer=none", "student=mlp_tiny", "epochs=2", "data.limit=200", "batch_size=60")
    whole = trained(session("kd", *plain))
    parts = trained(session("kd", *plain, "+graph.fit_student.accumulate=7"))
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-4, atol=1e-6)
    with pytest.raises(InputError, match="a batch of 60 rows has no 61 parts"):
        session("kd", *plain, "+graph.fit_student.accumulate=61").run()
    with pytest.raises(InputError, match="in steps with one update"):
        session("hard", "+graph.fit_student.accumulate=2")
