"""Gradient transforms: clipping and projections."""

from __future__ import annotations

import pytest
import torch

from kdrun.optim import gradients


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
