"""Running a step: layout of gradients and memory, batches in parts, trained parts of models."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from torch import nn

from kdrun.errors import InputError
from kdrun.grammar.nodes import Ref
from kdrun.grammar.steps import Update
from kdrun.step.program import Trainable
from support.runs import trained


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


def test_an_update_may_train_a_part_of_a_model(session) -> None:
    key = "fit_student.step.train"
    part = (f"{key}.student=false", f"{key}={{student.head: true}}")
    ready = session("kd", "transfer=none", "epochs=1", *part)
    ready.run()
    after = ready.executor.value(Ref("fit_student")).state
    whole = session("kd", "transfer=none", "epochs=1", *part, "optimizer.lr=1e-9")
    whole.run()
    before = whole.executor.value(Ref("fit_student")).state
    assert (after["blocks.0.1.weight"] == before["blocks.0.1.weight"]).all()
    assert not (after["head.weight"] == before["head.weight"]).all()
    with pytest.raises(InputError, match="'student.hed' names no parameters"):
        session("kd", "transfer=none", f"{key}={{student.hed: true}}").plan()
