"""Frozen models made cheaper: the same answers within rounding, and taps, patches and gradients as before."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kdrun.grammar.steps import parse_step
from kdrun.models.building import build
from kdrun.models.lowering import fold_batch_norms, full_precision, reduce_weights
from kdrun.step.calls import Call

IMAGES = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
TEACHERS = [
    {"model": "cifar_resnet", "depth": 8, "widen": 1, "num_classes": 5, "in_channels": 3},
    {"model": "torchvision", "name": "mobilenet_v3_small", "num_classes": 5},
    {"model": "timm", "name": "resnet10t", "num_classes": 5, "in_channels": 3},
]


def settled(spec: dict) -> nn.Module:
    """A frozen model whose norms have seen data, so that folding them changes every weight."""
    module = build(spec, seed=(0,)).train()
    with torch.no_grad():
        for _ in range(3):
            module(2 * IMAGES + 1)
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return module.eval().requires_grad_(False)


def call(module: nn.Module, **words) -> Call:
    nodes = {"t": {"call": "teacher", "from": ["batch.image"], **words}}
    return Call(module, parse_step({"nodes": nodes}, key="step").nodes["t"])


@pytest.mark.parametrize("spec", TEACHERS, ids=lambda s: s.get("name", s["model"]))
def test_folded_models_answer_as_before_and_have_no_norm_left(spec) -> None:
    plain, folded = settled(spec), settled(spec)
    count = sum(isinstance(m, nn.BatchNorm2d) for m in plain.modules())
    assert fold_batch_norms(folded) == count > 0
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    assert [n for n, _ in folded.named_modules()] == [n for n, _ in plain.named_modules()]
    torch.testing.assert_close(folded(IMAGES), plain(IMAGES), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "path", ["levels.0.0.second.0", "levels.0.0.second.1:input", "levels.0.0.second.1", "map_2", "feature", "map_1_pre"]
)
def test_taps_see_what_they_saw(path) -> None:
    plain, folded = settled(TEACHERS[0]), settled(TEACHERS[0])
    kept = [folded.get_submodule(path.partition(":")[0])] if path.startswith("levels") else []
    fold_batch_norms(folded, kept)
    found = []
    for module in (plain, folded):
        asked = call(module, taps={"seen": path})
        asked.function()(IMAGES)
        found.append(asked.slots["seen"].take())
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)


def test_gradients_with_respect_to_inputs_are_those_of_before() -> None:
    found = []
    for fold in (False, True):
        module, images = settled(TEACHERS[0]), IMAGES.clone().requires_grad_(True)
        if fold:
            fold_batch_norms(module)
        module(images).logsumexp(1).sum().backward()
        found.append(images.grad)
    torch.testing.assert_close(found[1], found[0], rtol=1e-3, atol=1e-5)


class Odd(nn.Module):
    """A convolution that is read twice, one that runs twice, and a norm in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.twice, self.moving = (nn.Conv2d(3, 3, 1) for _ in range(3))
        self.norms = nn.ModuleList(nn.BatchNorm2d(3) for _ in range(3))

    def forward(self, x):
        seen = self.read(x)
        x = self.norms[0](seen) + seen
        x = self.norms[1](self.twice(self.twice(x)))
        return self.norms[2](self.moving(x))


def test_what_more_than_the_norm_reads_is_not_folded() -> None:
    module = Odd().eval()
    module.norms[2].train()
    assert fold_batch_norms(module) == 0


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x):
        return self.norm(self.conv(x)) if x.sum() > 0 else x


def test_a_forward_that_cannot_be_traced_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be traced"):
        fold_batch_norms(Branching().eval())


def test_reduced_models_answer_in_full_precision_within_a_few_hundredths() -> None:
    plain, reduced = settled(TEACHERS[0]), settled(TEACHERS[0])
    reduce_weights(reduced)
    asked = call(reduced, taps={"map": "map"})
    logits, expected = asked.function()(IMAGES), plain(IMAGES)
    seen = asked.slots["map"].take()
    assert logits.dtype == seen.dtype == torch.float32
    assert 0 < float((logits - expected).abs().max() / expected.abs().max()) < 0.05
    head = call(reduced, call="teacher.head").function()
    assert head(torch.ones(2, plain.head.in_features)).dtype == torch.float32


def test_full_precision_reaches_into_mappings() -> None:
    found = full_precision({"a": torch.ones(1, dtype=torch.bfloat16), "b": [torch.ones(1, dtype=torch.int64)]})
    assert found["a"].dtype == torch.float32
    assert found["b"][0].dtype == torch.int64


def taught(session, *changes: str) -> dict[str, torch.Tensor]:
    run = session("kd", "data.limit=256", "epochs=2", "teacher_epochs=2", "teacher=cifar/resnet8", *changes)
    run.run()
    return run.executor.result("fit_student")["student"].state


@pytest.mark.parametrize("method", ["kd", "attention"])
def test_a_student_of_a_folded_teacher_learns_the_same_within_rounding(session, tmp_path, method) -> None:
    plain = taught(session, f"transfer={method}")
    folded = taught(session, f"transfer={method}", "hardware.fold_frozen=true", f"store={tmp_path / 'folded'}")
    reduced = taught(session, f"transfer={method}", "hardware.frozen_precision=bf16", f"store={tmp_path / 'reduced'}")
    assert any(not torch.equal(value, folded[name]) for name, value in plain.items())
    for name, value in plain.items():
        torch.testing.assert_close(folded[name], value, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(reduced[name], value, rtol=0.2, atol=0.05)
