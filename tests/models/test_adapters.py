"""Adapters: shapes, starting values, what they learn."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from kdrun.errors import InputError
from kdrun.models.building import build
from kdrun.ops.distances import gaussian_nll


def make(name: str, **options) -> nn.Module:
    return build({"model": name, **options}, seed=(0, "test"))


def learns_everywhere(module: nn.Module, output: Tensor) -> bool:
    output.square().sum().backward()
    return all(p.grad is not None and torch.isfinite(p.grad).all() for p in module.parameters())


MAP_ADAPTERS = [
    ("conv_adapter", {"relu": True}, (5, 7)),
    ("conv_adapter", {"kernel_size": 3, "stride": 2, "norm": False, "bias": True}, (3, 4)),
    ("conv_projector", {"factor": 2}, (5, 7)),
    ("translator", {}, (5, 7)),
]


@pytest.mark.parametrize(("name", "options", "size"), MAP_ADAPTERS, ids=lambda v: str(v))
def test_map_adapters_change_channels(name, options, size) -> None:
    module = make(name, in_channels=3, out_channels=6, **options)
    output = module(torch.randn(4, 3, 5, 7))
    assert output.shape == (4, 6, *size)
    assert learns_everywhere(module, output)


@pytest.mark.parametrize(
    "name",
    [
        "linear_projector",
        "log_variance_head",
        "standardized_linear",
        "embedding_adapter",
        "normalised_linear",
        "mlp_codec",
    ],
)
def test_row_adapters_change_width(name) -> None:
    module = make(name, in_features=5, out_features=8)
    output = module(torch.randn(6, 5))
    assert output.shape == (6, 8)
    assert learns_everywhere(module, output)


def test_a_paraphraser_can_become_the_identity_on_what_it_has_seen() -> None:
    """A few steps of plain gradient descent lower the reconstruction error; the factor has half the channels."""
    module = make("paraphraser", in_channels=4)
    maps = torch.rand(4, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    assert module(maps)["factor"].shape == (4, 2, 6, 6)
    assert make("paraphraser", in_channels=4, rate=0.75)(maps)["factor"].shape == (4, 3, 6, 6)
    optimizer = torch.optim.Adam(module.parameters(), 0.01)
    errors = []
    for _ in range(40):
        error = (module(maps)["reconstruction"] - maps).square().mean()
        errors.append(error.item())
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
    assert errors[-1] < 0.5 * errors[0]


def test_variances_start_at_five_and_go_to_the_squared_error() -> None:
    module = make("vid_regressor", in_channels=3, out_channels=4)
    found = module(torch.randn(2, 3, 5, 5))
    torch.testing.assert_close(found["variance"], torch.full((1, 4, 1, 1), 5.0))
    assert [m.bias for m in module.regressor if isinstance(m, nn.Conv2d)] == [None] * 3
    target = (found["mean"] + 2.0).detach()
    gaussian_nll(found["mean"].detach(), found["variance"], target).backward()
    assert (module.rho.grad > 0).all()  # 5 is above the squared error of 4: descent lowers the variance


def test_embedding_adapter_is_the_identity_between_equal_sizes() -> None:
    feature = torch.randn(3, 5)
    assert torch.equal(make("embedding_adapter", in_features=5, out_features=5)(feature), feature)


def test_normalised_rows_have_length_one() -> None:
    rows = make("normalised_linear", in_features=18)(torch.randn(4, 2, 3, 3))
    assert rows.shape == (4, 128)
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(4))


def test_standardised_output_has_mean_zero_and_variance_one_while_training() -> None:
    module = make("standardized_linear", in_features=4, out_features=4, project=False)
    assert not list(module.parameters())
    output = module(3 + 5 * torch.randn(64, 4))
    torch.testing.assert_close(output.mean(0), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(output.var(0, unbiased=False), torch.ones(4), atol=1e-3, rtol=0)


def test_a_level_of_review_weighs_its_own_map_and_the_deeper_one() -> None:
    level = make("attention_fusion", in_channels=3, out_channels=5, middle_channels=4).eval()
    maps, deeper = torch.randn(2, 3, 6, 6), torch.randn(2, 4, 3, 3)
    nn.init.zeros_(level.attention.weight)
    level.attention.bias.data = torch.tensor([20.0, -20.0])
    own = level(maps, deeper)
    assert own["feature"].shape == (2, 5, 6, 6)
    torch.testing.assert_close(own["fused"], level.reduce(maps), atol=1e-5, rtol=1e-5)
    level.attention.bias.data = torch.tensor([-20.0, 20.0])
    enlarged = deeper.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(level(maps, deeper)["fused"], enlarged, atol=1e-5, rtol=1e-5)


def test_the_deepest_level_reads_its_map_alone() -> None:
    deepest = make("attention_fusion", in_channels=3, out_channels=5, middle_channels=4, fuse=False)
    output = deepest(torch.randn(2, 3, 4, 4))
    assert learns_everywhere(deepest, output["feature"])
    with pytest.raises(ValueError, match="fuse"):
        deepest(torch.randn(2, 3, 4, 4), torch.randn(2, 4, 2, 2))


def test_a_bottleneck_stem_narrows_and_shrinks() -> None:
    stem = make("bottleneck_stem", in_channels=3, out_channels=10, bottleneck_channels=2, width=8, stride=4)
    output = stem(torch.randn(2, 3, 16, 16))
    assert output["code"].shape == (2, 2, 4, 4)
    assert output["feature"].shape == (2, 10, 4, 4)
    assert learns_everywhere(stem, output["feature"])
    with pytest.raises(InputError, match="power of two"):
        make("bottleneck_stem", in_channels=3, out_channels=10, stride=6)
