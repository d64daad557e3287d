"""The step compiler against loops written by hand in plain PyTorch."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from kdrun.data.handwritten_digits import Digits
from kdrun.errors import Diverged
from kdrun.grammar.nodes import Ref
from kdrun.models.building import build, load_state
from kdrun.randomness import stream
from kdrun.step.averages import Average
from support.recipes import BILEVEL, TINY_STUDENT, write_recipe
from support.runs import trained


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
        TINY_STUDENT,
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


def test_through_differentiates_a_virtual_step(session, tmp_path) -> None:
    """The outer update's step, by finite differences of the validation loss after a real inner step."""
    ready = session(write_recipe(tmp_path, BILEVEL, TINY_STUDENT))
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


def test_nan_stops_with_step_update_and_term(session, tmp_path) -> None:
    ready = session("kd", "transfer=none", "optimizer.lr=1e30", "epochs=2")
    with pytest.raises(Diverged, match="at step [0-9]+: update 'main', term 'ce'"):
        ready.run()
    assert not ready.store.contains(ready.keys["fit_student"])


def test_a_tied_weight_is_averaged_under_each_of_its_names() -> None:
    module = torch.nn.ModuleDict({"in": torch.nn.Linear(2, 2, bias=False), "out": torch.nn.Linear(2, 2, bias=False)})
    module["out"].weight = module["in"].weight
    average = Average(module, decay=0.75)
    start = module["in"].weight.detach().clone()
    with torch.no_grad():
        module["in"].weight.add_(4.0)
    average.step()
    state = average.state()
    torch.testing.assert_close(state["in.weight"], start + 1.0)
    torch.testing.assert_close(state["out.weight"], start + 1.0)
