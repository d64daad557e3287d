"""Prototypes at unit length, whatever an optimizer does to them."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from kdrun.errors import InputError
from kdrun.models.prototypes import UnitPrototypes
from support.models import make

BACKBONE = {"model": "cnn", "channels": [4, 8]}


def test_training_brings_rows_to_unit_length_in_place_and_the_gradient_is_a_linear_layers() -> None:
    head, feature = UnitPrototypes(5, 3), torch.randn(4, 5)
    with torch.no_grad():
        head.weight.mul_(7.0)
    head(feature)[:, 0].sum().backward()
    torch.testing.assert_close(head.weight.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(head.weight.grad[0], F.normalize(feature, dim=1).sum(0))


def test_several_calls_of_one_step_keep_their_gradients() -> None:
    head, feature = UnitPrototypes(5, 3), torch.randn(4, 5, requires_grad=True)
    with torch.no_grad():
        head.weight.mul_(2.0)
    (head(feature) + head(2 * feature)).square().sum().backward()
    assert feature.grad is not None


def test_eval_mode_gives_the_same_cosines_and_leaves_the_weights() -> None:
    head, feature = UnitPrototypes(5, 3).eval(), torch.randn(4, 5)
    with torch.no_grad():
        head.weight.mul_(torch.tensor([[2.0], [3.0], [4.0]]))
    before = head.weight.detach().clone()
    answer = head(feature)
    assert torch.equal(head.weight, before)
    torch.testing.assert_close(answer, torch.cosine_similarity(feature[:, None], before[None], dim=2))
    torch.testing.assert_close(head.train()(feature), answer)


def test_a_classifier_of_prototypes_projects_or_not() -> None:
    image = torch.rand(3, 3, 16, 16)
    wide = make("prototype_classifier", backbone=BACKBONE, num_classes=4, image_size=16)
    narrow = make("prototype_classifier", backbone=BACKBONE, width=6, num_classes=4, image_size=16)
    assert wide.head.weight.shape == (4, 8)
    assert narrow.head.weight.shape == (4, 6)
    assert narrow(image).shape == (3, 4)
    with pytest.raises(InputError, match="names no linear head"):
        make("prototype_classifier", backbone={"model": "linear", "in_features": 3, "out_features": 3})


def test_heads_share_features_and_nothing_else() -> None:
    heads = make("prototype_heads", heads=3, hidden=8, width=4, in_features=6, num_classes=5)
    feature = torch.randn(7, 6)
    answer = heads(feature)
    assert answer.shape == (7, 3, 5)
    assert answer.abs().max() <= 1 + 1e-6
    answer[:, 1].square().sum().backward()
    touched = {name.split(".")[1] for name, p in heads.named_parameters() if p.grad.abs().sum() > 0}
    assert touched == {"1"}
