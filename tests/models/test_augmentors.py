"""Learned augmentations, and the invariance that they can express."""

from __future__ import annotations

import pytest
import torch

from kdrun.errors import InputError
from kdrun.models.augmentors import AffineAugmentor, LatentPerturber, MaskMixer, VariationalAutoencoder
from kdrun.models.building import build


def test_no_width_is_the_identity_and_shifts_move() -> None:
    image = torch.randn(3, 1, 8, 8)
    still = AffineAugmentor(width=0.0)
    assert torch.allclose(still(image, torch.ones(3, 6)), image, atol=1e-5)
    moving = AffineAugmentor(width=[0.0, 0.0, 0.5, 0.0, 0.0, 0.0])
    noise = torch.ones(3, 6)
    moved = moving(image, noise)
    assert torch.allclose(moved[..., :6], image[..., 2:], atol=1e-5), "half of the half-side is two of eight pixels"
    assert torch.allclose(moved[..., 6:], torch.zeros(3, 1, 8, 2), atol=1e-5)


def test_gradients_reach_the_widths_alone() -> None:
    augmentor = AffineAugmentor()
    augmentor(torch.randn(4, 1, 8, 8), torch.rand(4, 6) * 2 - 1).square().sum().backward()
    assert augmentor.log_width.grad is not None
    assert augmentor.log_width.grad.abs().min() > 0
    assert augmentor.mean.grad is None
    with pytest.raises(InputError, match="six entries"):
        AffineAugmentor(width=[0.1, 0.2])


def test_the_shift_network_is_invariant_to_cyclic_shifts() -> None:
    spec = {"model": "cnn", "channels": [4, 6], "padding": "circular", "downsample": False, "pool": "max"}
    network = build({**spec, "num_classes": 3, "in_channels": 1, "image_size": 10}, seed=(0,)).eval()
    image = torch.randn(2, 1, 10, 10)
    assert torch.allclose(network(image), network(image.roll((3, -2), (2, 3))), atol=1e-6)


def test_a_mask_mixes_and_tells_the_share() -> None:
    mixer = MaskMixer(in_channels=1)
    seen = []
    mixer.share.register_forward_hook(lambda _, __, share: seen.append(share))
    image, other = torch.ones(4, 1, 6, 6), torch.zeros(4, 1, 6, 6)
    mixed = mixer(image, other, torch.randn(4, 1, 6, 6))
    assert ((mixed > 0) & (mixed < 1)).all()
    torch.testing.assert_close(mixed.mean((1, 2, 3)), seen[0])
    assert torch.equal(mixer(image, image, torch.randn(4, 1, 6, 6)), image)


def test_codes_start_unmoved_and_gradients_reach_the_perturber_through_the_decoder() -> None:
    codes = VariationalAutoencoder(hidden=8, latent=3, in_channels=1, image_size=5).requires_grad_(False)
    mover = LatentPerturber(in_features=3)
    mean = codes(torch.rand(4, 1, 5, 5), torch.randn(4, 3))["mean"]
    near = mover(mean, torch.randn(4, 3))
    assert torch.equal(near, mean)
    image = codes.decoder(near)
    assert image.shape == (4, 1, 5, 5)
    image.sum().backward()
    assert mover.step.weight.grad.abs().sum() > 0
