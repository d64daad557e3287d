"""Bottlenecks and heads around a backbone."""

from __future__ import annotations

import pytest
import torch

from kdrun.errors import InputError
from kdrun.models.building import build, resolve


def network(**options):
    sizes = {"num_classes": 5, "in_channels": 3, "image_size": 32, "in_features": 3072}
    return build(resolve({"model": "bottleneck_classifier", "width": 7, **options}, sizes), seed=(0, "test"))


@pytest.mark.parametrize("backbone", [{"model": "cnn"}, {"model": "cifar_resnet", "depth": 8}, {"model": "mlp"}])
def test_a_bottleneck_sits_between_backbone_and_head(backbone) -> None:
    module = network(backbone=backbone)
    image = torch.rand(4, 3, 32, 32)
    logits = module(image)
    assert logits.shape == (4, 5)
    feature = module.bottleneck(module.backbone(image))
    torch.testing.assert_close(logits, feature @ module.head.weight.T + module.head.bias)
    logits.square().sum().backward()
    assert all(p.grad is not None for p in module.parameters())


def test_the_heads_rows_have_the_norm_of_its_length() -> None:
    head = network(backbone={"model": "cnn"}).head
    before = head.weight.clone()
    reference = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(7, 5))
    reference.weight = before
    torch.testing.assert_close(reference.weight, before)
    with torch.no_grad():
        head.direction.mul_(3.0)
    torch.testing.assert_close(head.weight, before)
    with torch.no_grad():
        head.length.mul_(2.0)
    torch.testing.assert_close(head.weight, 2 * before)


def test_a_backbone_without_a_linear_head_is_refused() -> None:
    with pytest.raises(InputError, match="names no linear head"):
        network(backbone={"model": "linear", "in_features": 3, "out_features": 3})
