"""Schedules against torch's schedulers, gradient transforms against their definitions."""

from __future__ import annotations

import math

import pytest
import torch

from kdrun.errors import InputError
from kdrun.optim import gradients, schedules
from kdrun.optim.optimizers import torch_optimizer
from kdrun.optim.schedules import Progress


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


def test_clipping() -> None:
    named = {"a": torch.tensor([3.0, 0.0]), "b": torch.tensor([[0.0, 4.0]])}
    clipped = gradients.clip_norm(named, {}, max_norm=1.0)
    assert torch.cat([g.flatten() for g in clipped.values()]).norm().item() == pytest.approx(1.0, rel=1e-5)
    assert torch.equal(gradients.clip_norm(named, {}, max_norm=10.0)["a"], named["a"])
    assert gradients.clip_value(named, {}, max_value=1.0)["b"].tolist() == [[0.0, 1.0]]
    assert gradients.sign(named, {})["a"].tolist() == [1.0, 0.0]


def test_a_projected_gradient_does_not_change_outputs_in_the_subspace() -> None:
    torch.manual_seed(0)
    basis, _ = torch.linalg.qr(torch.randn(6, 2))
    projected = gradients.subspace_projection({"w": torch.randn(4, 6)}, {}, {"w": basis})["w"]
    torch.testing.assert_close(projected @ basis, torch.zeros(4, 2), atol=1e-5, rtol=0)


def test_the_reference_projection_turns_only_opposing_gradients() -> None:
    reference = {"w": torch.tensor([1.0, 0.0])}
    assert gradients.reference_projection({"w": torch.tensor([2.0, 3.0])}, {}, reference)["w"].tolist() == [2.0, 3.0]
    assert gradients.reference_projection({"w": torch.tensor([-2.0, 3.0])}, {}, reference)["w"].tolist() == [0.0, 3.0]


def test_any_torch_optimizer_by_name() -> None:
    assert isinstance(torch_optimizer([torch.zeros(1)], name="Adagrad", lr=0.1), torch.optim.Adagrad)
    with pytest.raises(InputError, match="no optimizer 'Adagard' \\(did you mean 'Adagrad'\\?\\)"):
        torch_optimizer([torch.zeros(1)], name="Adagard", lr=0.1)
    with pytest.raises(InputError, match="optimizer SGD: "):
        torch_optimizer([torch.zeros(1)], name="SGD", lr=0.1, options={"momentun": 0.9})


def test_metrics_agree_with_torchmetrics() -> None:
    from torchmetrics.functional.classification import multiclass_accuracy

    from kdrun.metrics import classification as m

    torch.manual_seed(0)
    logits, label = torch.randn(50, 4), torch.randint(0, 4, (50,))
    for top in (1, 2):
        expected = multiclass_accuracy(logits, label, 4, average="micro", top_k=top).item()
        assert m.accuracy(logits, label, top=top) == pytest.approx(expected)
    uniform = torch.zeros(50, 4)
    assert m.nll(uniform, label) == pytest.approx(math.log(4))
    assert m.brier_score(uniform, label) == pytest.approx(0.75)
    assert m.calibration_error(100 * torch.nn.functional.one_hot(label, 4).float(), label) == pytest.approx(
        0.0, abs=1e-6
    )
    assert m.f1_score(logits, logits.argmax(-1)) == pytest.approx(1.0)
    assert m.auroc(logits * 0 + torch.nn.functional.one_hot(label, 4), label) == pytest.approx(1.0)
    assert m.agreement(logits, logits + 3) == 1.0
    kappa = m.torchmetrics(logits, logits.argmax(-1), function="cohen_kappa")
    assert kappa == pytest.approx(1.0)
    with pytest.raises(InputError, match="no multiclass metric 'cohen_kapa' \\(did you mean 'cohen_kappa'"):
        m.torchmetrics(logits, label, function="cohen_kapa")
    target = torch.arange(5.0)
    assert m.mean_absolute_error(target + 2, target) == pytest.approx(2.0)
    assert m.root_mean_squared_error(
        target[:, None] + torch.tensor([[1.0], [-1.0], [1.0], [-1.0], [1.0]]), target
    ) == pytest.approx(1.0)
    statistics = m.embedding_statistics(torch.tensor([[3.0, 4.0]]), torch.tensor([0]), torch.tensor([[0.0, 2.0]]))
    assert statistics == pytest.approx({"feature_norm": 5.0, "feature_cosine": 0.8})
