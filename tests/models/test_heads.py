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


def cosine(**options):
    sizes = {"num_classes": 5, "in_channels": 1, "image_size": 8, "in_features": 64}
    content = {"model": "cosine_classifier", "backbone": {"model": "cnn", "channels": [4, 8]}, "width": 7, **options}
    return build(resolve(content, sizes), seed=(0, "test"))


def test_a_cosine_head_sees_directions_alone() -> None:
    module = cosine(scale=3.0).eval()
    image = torch.rand(4, 1, 8, 8)
    feature = module.projection(module.backbone(image))
    wanted = 3.0 * torch.cosine_similarity(feature[:, None], module.head.weight[None], dim=2)
    torch.testing.assert_close(module(image), wanted)
    with torch.no_grad():
        module.head.weight.mul_(torch.rand(5, 1) + 0.5)
    torch.testing.assert_close(module(image), wanted)


def test_a_fixed_head_is_out_of_reach_of_optimizers_and_starts_as_a_learned_one() -> None:
    fixed, learned = cosine(fixed_head=True), cosine()
    assert {n for n, _ in learned.named_parameters()} - {n for n, _ in fixed.named_parameters()} == {"head.weight"}
    assert all(torch.equal(v, learned.state_dict()[n]) for n, v in fixed.state_dict().items())
    optimizer = torch.optim.SGD(fixed.parameters(), lr=1.0, weight_decay=0.5)
    before = {name: value.clone() for name, value in fixed.state_dict().items()}
    fixed(torch.rand(4, 1, 8, 8)).square().sum().backward()
    optimizer.step()
    assert torch.equal(fixed.head.weight, before["head.weight"])
    assert not torch.equal(fixed.head.scale, before["head.scale"])
    assert not torch.equal(fixed.projection.weight, before["projection.weight"])


def test_a_bottleneck_without_norms_is_two_linear_maps() -> None:
    module = network(backbone={"model": "mlp"}, batch_norm=False, weight_norm=False)
    assert sorted(n for n, _ in module.named_parameters() if not n.startswith("backbone")) == [
        *("bottleneck.0.bias", "bottleneck.0.weight", "head.bias", "head.weight")
    ]
    image = torch.rand(4, 3, 32, 32)
    feature = module.bottleneck[0](module.backbone(image))
    torch.testing.assert_close(module(image), feature @ module.head.weight.T + module.head.bias)
