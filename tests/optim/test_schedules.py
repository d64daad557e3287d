"""Schedules against torch's schedulers and at their limits."""

from __future__ import annotations

import math

import pytest
import torch

from kdrun.errors import InputError
from kdrun.optim import schedules
from kdrun.optim.schedules import Progress, gaussian_fade, inverse_power


def test_gaussian_fade() -> None:
    def at(epoch: int) -> float:
        return gaussian_fade(Progress(epoch * 10, 2400, epoch, 240, 10), until=120, scale=160)

    assert math.isclose(at(0), 1 - math.exp(-5 * (2 / 160 - 1) ** 2))
    assert at(0) > 0.99
    assert math.isclose(at(118), 1 - math.exp(-5 * (120 / 160 - 1) ** 2))
    assert at(119) == 0.0


def at(step: int, per_epoch: int = 10, epochs: int = 30) -> Progress:
    return Progress(step, per_epoch * epochs, step // per_epoch, epochs, per_epoch)


def rates(scheduler_class, **options) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    scheduler = scheduler_class(optimizer, **options)
    found = []
    for _ in range(30):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_cosine_and_step_agree_with_torch() -> None:
    ours = [schedules.cosine(at(10 * e), per="epoch") for e in range(30)]
    assert ours == pytest.approx(rates(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=30))
    ours = [schedules.step(at(10 * e), milestones=[5, 20], gamma=0.3) for e in range(30)]
    assert ours == pytest.approx(rates(torch.optim.lr_scheduler.MultiStepLR, milestones=[5, 20], gamma=0.3))


def test_any_torch_scheduler_by_name() -> None:
    ours = [schedules.torch_scheduler(at(10 * e), name="ExponentialLR", options={"gamma": 0.9}) for e in range(30)]
    assert ours == pytest.approx(rates(torch.optim.lr_scheduler.ExponentialLR, gamma=0.9))
    with pytest.raises(InputError, match="did you mean 'ExponentialLR'"):
        schedules.torch_scheduler(at(0), name="ExponentalLR")


def test_warmups_start_low_and_end_at_one() -> None:
    assert schedules.linear_warmup(at(0), epochs=20) == 0.0
    assert schedules.linear_warmup(at(100), epochs=20) == 0.5
    assert schedules.linear_warmup(at(290), epochs=20) == 1.0
    assert 0 < schedules.cosine(at(0), warmup_epochs=2.0) < schedules.cosine(at(10), warmup_epochs=2.0) < 1
    assert schedules.cosine(at(20), warmup_epochs=2.0) == pytest.approx(1.0)
    assert schedules.after(at(99), steps=100, value=2.0) == 0.0
    assert schedules.after(at(100), steps=100, value=2.0) == 2.0
    with pytest.raises(InputError, match="either steps or epochs"):
        schedules.after(at(0))


def test_inverse_power_falls_from_one() -> None:
    rates = [inverse_power(Progress(s, 100, s // 10, 10, 10)) for s in (0, 10, 90)]
    assert rates == pytest.approx([1.0, 2**-0.75, 10**-0.75])


def test_a_line_may_begin_with_a_rise() -> None:
    at = [schedules.linear(Progress(step, 100, step // 10, 10, 10), warmup=0.2) for step in (0, 10, 20, 60, 99)]
    assert at == pytest.approx([0.0, 0.5, 1.0, 0.5, 0.0125])
    plain = [schedules.linear(Progress(step, 100, step // 10, 10, 10)) for step in (0, 50)]
    assert plain == [1.0, 0.5]
