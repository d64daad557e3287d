"""Density models of vectors."""

from __future__ import annotations

import pytest
import torch

from kdrun import ops
from support.models import make


def test_noise_enters_through_the_deviation_alone() -> None:
    network = make("embedding_autoencoder", hidden=[16, 8], latent=3, in_features=6).eval()
    features, noise = torch.randn(4, 6), torch.randn(4, 3)
    found, still = network(features, noise), network(features, torch.zeros(4, 3))
    for name in ("mean", "log_variance"):
        assert torch.equal(found[name], still[name])
    code = found["mean"] + (0.5 * found["log_variance"]).exp() * noise
    torch.testing.assert_close(found["reconstruction"], network.decoder(code))
    assert not torch.equal(found["reconstruction"], still["reconstruction"])
    torch.testing.assert_close(network(features, noise)["reconstruction"], found["reconstruction"])


@pytest.mark.parametrize("hidden", [[], [16], [16, 8]])
def test_widths_are_mirrored_and_outputs_may_be_bounded(hidden) -> None:
    network = make("embedding_autoencoder", hidden=hidden, latent=3, output="sigmoid", in_features=6)
    found = network(10 * torch.randn(4, 6), torch.randn(4, 3))["reconstruction"]
    assert found.shape == (4, 6)
    assert ((found >= 0) & (found <= 1)).all()
    shapes = [tuple(p.shape) for n, p in network.named_parameters() if "coder" in n and p.dim() == 2]
    assert shapes == [(b, a) for a, b in zip([6, *hidden], hidden, strict=False)] + [
        (b, a) for a, b in zip([3, *hidden[::-1]], [*hidden[::-1], 6], strict=True)
    ]


def test_it_learns_a_density_in_which_strangers_are_told() -> None:
    torch.manual_seed(0)
    network = make("embedding_autoencoder", hidden=[16], latent=2, in_features=6)
    known = torch.randn(256, 2) @ torch.randn(2, 6) + 3.0
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(300):
        found = network(known, torch.randn(256, 2))
        error = ops.mean_squared_error(found["reconstruction"], known, reduction="batch_mean")
        optimizer.zero_grad()
        (error + 0.025 * ops.standard_normal_kl(found["mean"], found["log_variance"])).backward()
        optimizer.step()
    noise = torch.randn(256, 2)
    errors = [(network(rows, noise)["reconstruction"] - rows).square().sum(1).mean() for rows in (known, -known)]
    assert errors[1] > 5 * errors[0]
