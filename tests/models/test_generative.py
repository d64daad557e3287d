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
