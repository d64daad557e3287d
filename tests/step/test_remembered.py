"""Frozen models asked once a row: same bytes, fewer calls, and given up where answers are not by row."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from kdrun.grammar.nodes import Ref
from kdrun.step.remembered import TRIALS, Lasting, Remembered

ROWS = Lasting(count=8, bound=10, batch=4, limit=1e6)


class Counting:
    """A frozen function of rows that counts how often it is asked."""

    def __init__(self, function) -> None:
        self.function, self.calls = function, 0

    def __call__(self, value: Tensor) -> Tensor:
        self.calls += 1
        return self.function(value)


def asking(function):
    return lambda *inputs: [function(*inputs)]


def epochs(remembered: Remembered, data: Tensor, numbers: Tensor, count: int, expected) -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(count):
        for rows in torch.randperm(len(data), generator=generator).split(4):
            (answer,) = remembered(numbers[rows], data[rows])
            torch.testing.assert_close(answer, expected(data[rows]), rtol=0, atol=0, equal_nan=True)


def test_rows_are_asked_about_once_and_then_read() -> None:
    data, numbers = torch.randn(8, 3), torch.tensor([9, 1, 5, 0, 2, 3, 4, 7])
    data[2, 1] = float("nan")
    model = Counting(torch.tanh)
    remembered = Remembered(asking(model), ROWS)
    epochs(remembered, data, numbers, 6, torch.tanh)
    assert model.calls == 2 + TRIALS
    assert remembered.missing == 0


def test_what_depends_on_other_rows_is_always_computed() -> None:
    data, numbers = torch.randn(8, 3), torch.arange(8)
    model = Counting(lambda value: value - value.mean(0))
    remembered = Remembered(asking(model), ROWS)
    epochs(remembered, data, numbers, 6, model.function)
    assert not remembered.useful
    assert model.calls == 6 * 2


@pytest.mark.parametrize(
    ("function", "rows"),
    [
        (lambda v: v.sum(), ROWS),
        (lambda v: {"logits": v}, ROWS),
        (lambda v: v, Lasting(8, 10, 4, limit=100.0)),
        (lambda v: v.detach().requires_grad_(), ROWS),
    ],
    ids=["no rows", "no tensor", "too large", "with gradient"],
)
def test_what_cannot_be_kept_is_given_up(function, rows) -> None:
    remembered = Remembered(asking(function), rows)
    remembered(torch.arange(4), torch.randn(4, 3))
    assert not remembered.useful


def test_layouts_of_memory_are_kept() -> None:
    """What follows may sum in the order of memory."""
    model = nn.Conv2d(3, 8, 3).to(memory_format=torch.channels_last).eval().requires_grad_(False)
    data = torch.randn(8, 3, 6, 6)
    remembered = Remembered(asking(model), ROWS)
    for _ in range(4):
        for rows in torch.arange(8).split(4):
            (answer,) = remembered(rows, data[rows])
            assert answer.is_contiguous(memory_format=torch.channels_last)
    assert remembered.useful
    assert remembered.trials == 0


def test_a_smaller_batch_is_computed() -> None:
    model = Counting(torch.exp)
    remembered = Remembered(asking(model), Lasting(count=6, bound=6, batch=4, limit=1e6))
    for _ in range(20):
        for rows in torch.arange(6).split(4):
            remembered(rows, torch.ones(len(rows), 2))
    assert model.calls == 20 + 1 + TRIALS


def taught(session, *overrides: str):
    ready = session("kd", "epochs=8", "teacher_epochs=1", "data.limit=256", *overrides)
    ready.run()
    return ready.executor.value(Ref("fit_student")).state


def test_remembering_changes_no_byte(session, tmp_path, asked) -> None:
    kept = taught(session, "hardware.remember_gib=1.0", "transfer=attention")
    batches = 8 * 256 // 64
    assert len(asked) < batches / 2
    anew = taught(session, "hardware.remember_gib=0.0", "transfer=attention", f"store={tmp_path / 'other'}")
    for name, value in anew.items():
        assert torch.equal(value, kept[name]), name


def test_augmented_rows_are_asked_about_every_time(session, asked) -> None:
    taught(session, "+data.augment=[{transform: random_crop, padding: 1}]", "hardware.share_gib=0.0")
    assert asked == []  # by the plain function of the call
    taught(session, "+data.augment=[{transform: random_crop, padding: 1}]", "transfer.temperature=2.0")
    assert len(asked) == 8 * 256 // 64
