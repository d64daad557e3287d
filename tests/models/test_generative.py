"""Generators and discriminators of images."""

from __future__ import annotations

import torch

from kdrun.models.building import build


def test_a_discriminator_sees_its_images_past_its_convolutions() -> None:
    spec = {"model": "two_head_discriminator", "width": 4, "levels": 2, "num_classes": 3, "in_channels": 1}
    model = build(spec, seed=(0, "w"))
    images = torch.rand(2, 1, 8, 8)
    for name, weight in model.named_parameters():
        if ".second." in name:
            torch.nn.init.zeros_(weight)
    found = model(images)
    assert found["real"].shape == (2,)
    assert not torch.allclose(found["logits"][0], found["logits"][1])


def text_generator(**options):
    given = {"features": 6, "latent": 4, "planes": [8, 8, 4], "hidden": 8, "mask_width": 4, **options}
    return build({"model": "text_conditioned_generator", **given}, seed=(0, "w"))


def test_a_text_says_nothing_at_first_and_the_shares_are_what_learns() -> None:
    model = text_generator()
    latent, texts = torch.randn(5, 4), torch.randn(2, 5, 6)
    first, second = (model(text, latent) for text in texts)
    assert first.shape == (5, 3, 16, 16)
    assert torch.equal(first, second)
    assert (first.abs() < 1).all()
    first.square().sum().backward()
    assert all(block.share.grad != 0 for block in model.blocks)
    assert all((block.first.gamma[2].weight.grad == 0).all() for block in model.blocks)  # held back by a share of 0


def test_a_text_moves_the_image_once_shares_and_last_layers_are_not_zero() -> None:
    model = text_generator(squash=False).eval()
    latent, texts = torch.randn(1, 4), torch.randn(2, 1, 6)
    for block in model.blocks:
        torch.nn.init.ones_(block.share)
        for norm in (block.first, block.second):
            torch.nn.init.normal_(norm.beta[2].weight)
    said, other = (model(text, latent) for text in texts)
    assert not torch.allclose(said, other)
    for logits in model.masks:  # closed everywhere, the masks let nothing through
        torch.nn.init.zeros_(logits[3].weight)
        torch.nn.init.constant_(logits[3].bias, -1e4)
    said, other = (model(text, latent) for text in texts)
    assert torch.equal(said, other)


def test_in_training_a_generator_knows_its_batch_and_in_use_it_does_not() -> None:
    model = text_generator()
    text, latent = torch.randn(4, 6), torch.randn(4, 4)
    assert not torch.allclose(model(text, latent)[:2], model(text[:2], latent[:2]))
    model.eval()
    assert torch.allclose(model(text, latent)[:2], model(text[:2], latent[:2]), atol=1e-6)
