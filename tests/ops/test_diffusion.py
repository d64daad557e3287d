"""Diffusion in continuous time, against data whose posterior mean is known."""

from __future__ import annotations

import itertools

import pytest
import torch

from kdrun import ops
from kdrun.ops.diffusion import noise_levels

SPREAD = 0.5


def posterior_mean(noisy: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """The best prediction of a signal that is normal with standard deviation ``SPREAD``."""
    alpha, sigma = noise_levels(t)
    return (alpha * SPREAD**2 / (alpha**2 * SPREAD**2 + sigma**2)).view(-1, 1) * noisy


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_levels_keep_the_variance_and_start_clean(schedule: str) -> None:
    t = torch.linspace(0, 1, 11).double()
    alpha, sigma = noise_levels(t, schedule)
    assert torch.allclose(alpha**2 + sigma**2, torch.ones(11).double())
    assert alpha[0] == 1
    assert sigma[0] == 0
    assert (alpha.diff() < 0).all()


def test_conversions_are_inverse() -> None:
    generator = torch.Generator().manual_seed(0)
    signal, noise = torch.randn(2, 5, 3, generator=generator).double()
    t = torch.linspace(0.1, 0.9, 5).double()
    noisy = ops.noisy_from_signal(signal, noise, t)
    assert torch.allclose(ops.signal_from_noisy(noisy, noise, t), signal)
    alpha, sigma = (v.view(-1, 1) for v in noise_levels(t))
    assert torch.allclose(ops.signal_from_prediction(noise, noisy, t, predicts="noise"), signal)
    velocity = alpha * noise - sigma * signal
    assert torch.allclose(ops.signal_from_prediction(velocity, noisy, t, predicts="velocity"), signal)


def test_at_time_zero_a_step_changes_nothing() -> None:
    signal, said, noise = torch.randn(3, 3, 4, 4)
    t = earlier = torch.tensor([0.0, 0.0, 0.0])
    step = ops.signal_ode_step(signal, said, t, earlier)
    assert torch.equal(step["signal"], signal)
    assert torch.equal(step["share"], torch.zeros(3))
    noisy = ops.noisy_from_signal(signal, noise, t)
    torch.testing.assert_close(ops.ddim_step(noisy, said, t, earlier), noisy)


def test_the_signal_step_is_the_ddim_step() -> None:
    generator = torch.Generator().manual_seed(1)
    signal, noise, said = torch.randn(3, 6, 4, generator=generator).double()
    t, earlier = torch.linspace(0.3, 0.98, 6).double(), torch.linspace(0.0, 0.9, 6).double()
    step = ops.signal_ode_step(signal, said, t, earlier)
    assert ((step["share"] > 0) & (step["share"] <= 1)).all()
    noisy = ops.ddim_step(ops.noisy_from_signal(signal, noise, t), said, t, earlier)
    assert torch.allclose(ops.noisy_from_signal(step["signal"], noise, earlier), noisy)


def test_the_exact_path_has_no_residual_and_maps_noise_to_data() -> None:
    noise = torch.randn(4, 3, generator=torch.Generator().manual_seed(2)).double()
    times = torch.linspace(0.999, 0.0, 2001).double()
    first = times[:1].expand(4)
    signal = ops.signal_from_noisy(noise, noise, first)  # the path that starts at pure noise
    for now, earlier in itertools.pairwise(times):
        t, s = now.expand(4), earlier.expand(4)
        said = posterior_mean(ops.noisy_from_signal(signal, noise, t), t)
        signal = ops.signal_ode_step(signal, said, t, s)["signal"]
    assert torch.allclose(signal, SPREAD * noise, rtol=5e-3)


def test_weighted_mse_weighs_rows() -> None:
    first, second = torch.zeros(2, 3), torch.tensor([[1.0] * 3, [2.0] * 3])
    assert ops.weighted_mse(first, second) == 2.5
    assert ops.weighted_mse(first, second, torch.tensor([0.0, 1.0])) == 2.0
